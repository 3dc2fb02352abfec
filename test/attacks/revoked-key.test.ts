import { enums, revokeKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, judged, newKey, signedBy } from "../fixtures/maintainers.ts";

const reasons = {
  "hard (compromised)": enums.reasonForRevocation.keyCompromised,
  "hard (no reason)": enums.reasonForRevocation.noReason,
  "soft (retired)": enums.reasonForRevocation.keyRetired,
  "soft (superseded)": enums.reasonForRevocation.keySuperseded,
};

test.each(Object.entries(reasons))(
  "a key that was revoked after it signed does not count: %s",
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

test("a revoked subkey does not count, its primary key does", async () => {
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
