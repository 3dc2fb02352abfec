import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readKey } from "openpgp";
import { expect, test } from "vitest";
import { requireSignatureCounts } from "../../../../pipeline/attestation/signature.ts";
import { requirePerson } from "../../../../pipeline/context/signer.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { parseRoster } from "../../../../trust/quorum/roster.ts";
import { gpgHome, image, maintainersOf, payload } from "../../../support/builders/maintainers.ts";

test("warns of an expiring signature before it is stored, with the date", async () => {
  const { gpg, home, newKey } = await gpgHome();
  newKey("alice", "ed25519");
  const key = await readKey({ binaryKey: gpg(["--export"]) });
  const keyring = await Keyring.of([key]);
  const trust = { roster: parseRoster(maintainersOf({ alice: { keys: [key] } })), keyring };
  const warningFor = async (bytes: Uint8Array) =>
    await requireSignatureCounts(bytes, image, requirePerson(trust, "alice"), undefined, trust);
  const args = ["--digest-algo=SHA512", "--no-armor", "--sign"];
  expect(await warningFor(gpg(args, payload()))).toBeUndefined();
  writeFileSync(join(home, "gpg.conf"), "default-sig-expire 30d\n");
  const day = new Date(Date.now() + 30 * 24 * 3600 * 1000).toISOString().slice(0, 10);
  expect(await warningFor(gpg(args, payload()))).toContain(
    `the signature of ${image.reference} expires on ${day} and counts no more from then on`,
  );
});
