import type { SignedPart } from "../../lib/git/git-signed-object.ts";
import { verifyGitSignature } from "../openpgp/git-signature.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import { TrustError } from "../trust-error.ts";
import type { Trust } from "./quorum.ts";
import { keyOwners, type Person } from "./roster.ts";

/**
 * Verifies the signature of a git object, and returns the person in the roster who made it. The key
 * must be good now, as for images. The verdict is never git's.
 * @throws SignatureRejection if the signature does not count; TrustError if that can't be known
 */
export async function verifyTreeSignature(
  { payload, signature }: SignedPart,
  { roster, keyring }: Trust,
  now = new Date(),
): Promise<Person> {
  const whose = keyOwners(roster, (fingerprint) => keyring.primaryOf(fingerprint));
  const { fingerprint } = await verifyGitSignature(payload, signature, keyring, now);
  const person = whose.get(fingerprint);
  if (person === undefined)
    throw new SignatureRejection(
      "not-in-roster",
      `signed with ${fingerprint}, which is nobody's in the roster`,
    );
  const doubts = keyring.doubtsAbout(fingerprint);
  if (doubts.length === 0) return person;
  throw new TrustError(
    `the key ${fingerprint} of ${person.id} may be revoked: ${doubts.slice(0, 10).join("; ")}`,
  );
}
