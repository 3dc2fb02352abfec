import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { enums, revokeKey, unarmor } from "openpgp";
import { expect, test } from "vitest";
import { parseFingerprint } from "../../trust/openpgp/fingerprint.ts";
import { Keyring, requireSigningKey } from "../../trust/openpgp/keyring.ts";
import { codesOf, gpgHome, judged, newKey, signedBy } from "../support/builders/maintainers.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

const reasons = {
  "hard (compromised)": enums.reasonForRevocation.keyCompromised,
  "hard (no reason)": enums.reasonForRevocation.noReason,
  "soft (retired)": enums.reasonForRevocation.keyRetired,
  "soft (superseded)": enums.reasonForRevocation.keySuperseded,
};

test.each(Object.entries(reasons))(
  "rejects a signature by a key that was revoked later: %s",
  async (_, flag) => {
    const alice = await newKey("alice");
    const signature = await signedBy(alice);
    const { publicKey: revoked } = await revokeKey({
      key: alice,
      reasonForRevocation: { flag },
      format: "object",
    });
    // Whichever copy of the certificate is read first.
    for (const keys of [[revoked], [alice, revoked], [revoked, alice]]) {
      expect(codesOf(await judged([signature], { alice: { keys } }))).toEqual({
        "signature-1": "revoked-key",
      });
    }
  },
);

test("rejects a revoked subkey, and accepts its primary key", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const [subkey] = alice.subkeys;
  if (subkey === undefined) throw new Error("no subkey");
  const bySubkey = await signedBy(alice, undefined, { by: subkey.getKeyID() });
  const byPrimary = await signedBy(alice);
  // @ts-expect-error openpgp.js has the primary key's packet as secret here, and its types do not.
  alice.subkeys[0] = await subkey.revoke(alice.keyPacket, { flag: enums.reasonForRevocation.keySuperseded });
  const outcome = await judged([bySubkey, byPrimary], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "revoked-key" });
  expect(outcome.accepted).toMatchObject([{ file: "signature-2", person: "alice" }]);
});

test("applies a revocation certificate that lies beside the key", async () => {
  const { gpg, home, newKey: gpgKey } = await gpgHome();
  const alice = parseFingerprint(gpgKey("alice", "ed25519"));
  gpgKey("bob", "ed25519");
  const folder = await scratchFolder();
  writeFileSync(join(folder, "1.asc"), gpg(["--armor", "--export"]));
  const disarmed = readFileSync(join(home, "openpgp-revocs.d", `${alice}.rev`), "utf8");
  const revocation = disarmed.replace(/^:/m, "");
  const revoked = async () => {
    const keyring = await Keyring.load(folder);
    const answers = [...keyring.certificates.keys()].map(async (key) => {
      const [candidate] = keyring.keysOf(key);
      const isGood =
        candidate &&
        (await requireSigningKey(candidate, new Date())
          .then(() => true)
          .catch(() => false));
      return isGood ? [] : [key];
    });
    const [skipped, doubts] = [keyring.skipped, keyring.doubts].map((all) => all.map(({ file }) => file));
    return { keys: (await Promise.all(answers)).flat(), skipped, doubts };
  };
  // gpg puts a colon before it, so that nobody revokes by mistake.
  writeFileSync(join(folder, "2.asc"), disarmed);
  expect(await revoked()).toEqual({ keys: [], skipped: ["2.asc"], doubts: [] });
  writeFileSync(join(folder, "2.asc"), revocation);
  expect(await revoked()).toEqual({ keys: [alice], skipped: [], doubts: [] });
  const { data } = await unarmor(revocation);
  writeFileSync(join(folder, "2.asc"), new Uint8Array(await new Response(data).arrayBuffer()));
  expect(await revoked()).toEqual({ keys: [alice], skipped: [], doubts: [] });
  const stranger = await gpgHome();
  const mallory = stranger.newKey("mallory", "ed25519");
  const theirs = readFileSync(join(stranger.home, "openpgp-revocs.d", `${mallory}.rev`), "utf8");
  writeFileSync(join(folder, "3.asc"), theirs.replace(/^:/m, ""));
  expect(await revoked()).toEqual({ keys: [alice], skipped: [], doubts: ["3.asc"] });
});
