import { enums } from "openpgp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import { evaluateQuorum } from "../../trust/quorum/quorum.ts";
import { parseRoster } from "../../trust/quorum/roster.ts";
import { GpgHome } from "../support/builders/gpg-home.ts";
import { keyFolder, verdictOf, writeKeyFile } from "../support/builders/key-folder.ts";
import { expectRejected, image, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

let gpg: GpgHome;

beforeAll(async () => {
  gpg = await GpgHome.create();
});
afterAll(() => gpg[Symbol.asyncDispose]());

describe("a key on an unsupported curve is refused with the curve's name", () => {
  test.each(["brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"])("%s", async (curve) => {
    const fingerprint = gpg.newKey(curve, curve);
    const folder = await keyFolder({ "key.gpg": gpg.run("--export", fingerprint), payload: payload() });
    const options = [`-u${fingerprint}!`, "--digest-algo=SHA512", "--no-armor", "-o-", "--sign"];
    const bytes = gpg.run(...options, `${folder}/payload`);
    const roster = parseRoster(`[people.ann]\n[keys.ann.k]\nid = "${fingerprint}"\n`);
    const trust = { roster, keyring: await Keyring.load(`${folder}/key.gpg`) };
    const outcome = await evaluateQuorum(image, [{ file: "signature-1", bytes }], trust, {
      threshold: 1,
      vendors: 0,
    });
    expect(verdictOf(outcome)).toBe("not met");
    const reason = `the key ${fingerprint} is on the curve ${curve}, which is not supported; sign with RSA, Ed25519, Ed448 or NIST P-256, P-384 or P-521`;
    expect(outcome.rejected).toEqual([{ file: "signature-1", code: "unsupported-key", reason }]);
  });
});

test("rejects a signature with an unknown algorithm, and names it", async () => {
  const alice = await newKey("alice");
  const signed = Buffer.from(await signedBy(alice));
  // After the one-pass packet and the literal stands the signature: version 4, type 0, the algorithm.
  const at = signed.lastIndexOf(Buffer.from([4, 0, enums.publicKey.eddsaLegacy, enums.hash.sha512]));
  signed.writeUInt8(99, at + 2);
  await expectRejected(signed, alice, "unsupported-key");
});

test("skips a certificate with an unknown algorithm, and reads the others", async () => {
  const alice = (await newKey("alice")).toPublic();
  const foreign = Buffer.from((await newKey("bob")).toPublic().write());
  foreign.writeUInt8(99, 2 + 5);
  const folder = await keyFolder({ "a.gpg": alice.write(), "b.gpg": foreign });
  const keyring = await Keyring.load(folder);
  expect(keyring.doubts).toEqual([]);
  expect(keyring.certificates.size).toBe(1);
  const reason =
    "it has a key of version 4 with algorithm 99, which is not supported: signatures by it don't count";
  expect(keyring.skipped).toEqual([{ file: "b.gpg", reason }]);
  // With a revocation behind it, it may be a damaged copy of a key that is here.
  const [head, rest] = [foreign.subarray(0, 2 + (foreign[1] ?? 0)), foreign.subarray(2 + (foreign[1] ?? 0))];
  const revocation = Buffer.from([0xc2, 10, 4, 0x20, 99, 8, 0, 0, 0, 0, 0, 0]);
  writeKeyFile(folder, "b.gpg", Buffer.concat([head, revocation, rest]));
  expect((await Keyring.load(folder)).doubts).toMatchObject([{ file: "b.gpg" }]);
});
