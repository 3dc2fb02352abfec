import { createMessage, OnePassSignaturePacket, readSignature, SignaturePacket } from "openpgp";
import type { Keyring } from "./keyring.ts";
import { strictConfig } from "./openpgp-policy.ts";
import { SignatureRejection } from "./signature-rejection.ts";
import { type VerifiedMessage, verifySignedMessage } from "./signed-message.ts";

/** The most characters of an armored signature. Real ones have under 2,000. */
const maxArmorSize = 64 * 1024;

/** One block of armor and nothing else (RFC 9580, section 6.2). */
const oneBlock =
  /^-----BEGIN PGP SIGNATURE-----\n(?:[\w-]+: [^\n]*\n)*\n?[A-Za-z0-9+/=\n]+-----END PGP SIGNATURE-----\s*$/;

/**
 * Verifies an armored detached signature, as git has them, by the rules for messages: one binary
 * signature by a key that may sign now.
 * @throws SignatureRejection
 */
export async function verifyGitSignature(
  content: Uint8Array,
  armored: string,
  keyring: Keyring,
  now = new Date(),
): Promise<VerifiedMessage> {
  const kind = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(armored)?.[1];
  if (kind !== "PGP SIGNATURE")
    throw new SignatureRejection(
      "not-openpgp",
      `signed with ${kind ?? "no armor"}; only OpenPGP counts: git config gpg.format openpgp`,
    );
  if (armored.length > maxArmorSize)
    throw new SignatureRejection("too-large", `a signature of more than ${maxArmorSize} characters`);
  const text = armored.replaceAll("\r\n", "\n");
  if (!oneBlock.test(text)) throw new SignatureRejection("malformed", "not one whole armored signature");
  return await verifySignedMessage(
    await toOpaqueMessage(content, await parseOneSignature(text)),
    keyring,
    now,
  );
}

async function parseOneSignature(armoredSignature: string): Promise<SignaturePacket> {
  const read = readSignature({ armoredSignature, config: strictConfig }).catch((error: Error) => {
    throw new SignatureRejection("malformed", `not a whole OpenPGP signature: ${error.message}`);
  });
  const packets: readonly unknown[] = (await read).packets;
  const [signature] = packets;
  if (packets.length > 1)
    throw new SignatureRejection(
      "several-signatures",
      `${packets.length} packets in one signature; one counts`,
    );
  if (signature instanceof SignaturePacket) return signature;
  throw new SignatureRejection(
    "signature-version",
    "a signature whose version or algorithm is not supported",
  );
}

/**
 * Makes the equivalent opaque message: a binary signature is over the same bytes in both (RFC 9580,
 * section 5.2.4).
 */
async function toOpaqueMessage(content: Uint8Array, signature: SignaturePacket): Promise<Uint8Array> {
  // The library's types leave this function out.
  const announce = Reflect.get(OnePassSignaturePacket, "fromSignaturePacket") as (
    signature: SignaturePacket,
    isLast: boolean,
  ) => OnePassSignaturePacket;
  const { packets } = await createMessage({ binary: content, format: "binary" });
  packets.unshift(announce(signature, true));
  packets.push(signature);
  return packets.write();
}
