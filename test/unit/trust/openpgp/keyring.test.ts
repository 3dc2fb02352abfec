import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { revokeKey } from "openpgp";
import { expect, test } from "vitest";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import { codesOf, gpgHome, judged, newKey, signedBy } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const fingerprintsIn = ({ certificates }: Keyring) => [...certificates.keys()].sort();

test("reads armored and binary certificates, several in a file, from a folder", async () => {
  const folder = await scratchFolder();
  const keys = [await newKey("a"), await newKey("b"), await newKey("c"), await newKey("d")].map((key) =>
    key.toPublic(),
  );
  const [a, b, c, d] = keys;
  writeFileSync(join(folder, "two.asc"), `From a letter:\n${a?.armor()}\nand\n${b?.armor()}`);
  writeFileSync(
    join(folder, "two.gpg"),
    Buffer.concat([c?.write() ?? "", d?.write() ?? ""].map(Buffer.from)),
  );
  mkdirSync(join(folder, "older"));
  writeFileSync(join(folder, ".hidden"), "not looked at");
  const keyring = await Keyring.load(folder);
  expect(fingerprintsIn(keyring)).toEqual(keys.map((key) => key.getFingerprint().toUpperCase()).sort());
  expect(keyring.skipped).toEqual([]);
  expect(fingerprintsIn(await Keyring.load(join(folder, "two.gpg")))).toHaveLength(2);
});

test("skips files without certificates with a reason, and reads the others", async () => {
  const folder = await scratchFolder();
  const key = await newKey("a");
  const { home, newKey: gpgKey } = await gpgHome();
  gpgKey("b", "ed25519");
  writeFileSync(join(folder, "a.asc"), key.toPublic().armor());
  writeFileSync(join(folder, "README"), "keys of ours");
  writeFileSync(join(folder, "cut.asc"), key.toPublic().armor().slice(0, 300));
  writeFileSync(join(folder, "junk.gpg"), Buffer.from([0x99, 1, 2, 3]));
  writeFileSync(join(folder, "private.asc"), key.armor());
  const keyring = await Keyring.load(folder);
  expect(fingerprintsIn(keyring)).toEqual([key.getFingerprint().toUpperCase()]);
  expect(keyring.skipped.map(({ file }) => file)).toEqual(["README"]);
  expect(keyring.doubts.map(({ file }) => file)).toEqual(["cut.asc", "junk.gpg", "private.asc"]);
  expect(keyring.doubts.at(-1)?.reason).toMatch(/private key/);
  await expect(Keyring.load(join(home, "pubring.kbx"))).rejects.toThrow(/keybox; export the keys: gpg/);
  await expect(Keyring.load(join(folder, "none"))).rejects.toThrow(
    /no keys at .*there is nothing there; .*gpg --export/,
  );
});

test("merges copies of a key from several files, revocations included", async () => {
  const folder = await scratchFolder();
  const key = await newKey("a");
  const { publicKey: revoked } = await revokeKey({ key, format: "object" });
  writeFileSync(join(folder, "1.asc"), revoked.armor());
  writeFileSync(join(folder, "2.asc"), key.toPublic().armor());
  const keyring = await Keyring.load(folder);
  expect(keyring.certificates.size).toBe(1);
  expect([...keyring.certificates.values()][0]?.revocationSignatures).toHaveLength(1);
});

test("keeps a subkey with its owner if another certificate has a copy", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const mallory = await newKey("mallory");
  const [subkey] = alice.subkeys;
  if (subkey === undefined) throw new Error("no subkey");
  const signature = await signedBy(alice, undefined, { by: subkey.getKeyID() });
  // With Alice's binding, and without her subkey's consent: that is what the embedded signature is for.
  const thief = mallory.toPublic();
  thief.subkeys.push(...alice.toPublic().subkeys);
  const stolen = { mallory: { keys: [thief] } };
  expect(codesOf(await judged([signature], stolen))).toEqual({ "signature-1": "invalid-key" });
  const outcome = await judged([signature], { ...stolen, alice: { keys: [alice] } });
  expect(outcome.accepted).toMatchObject([{ person: "alice" }]);
});
