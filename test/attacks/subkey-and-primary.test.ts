import { expect, test } from "vitest";
import { codesOf, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

test("counts a subkey and its primary key as one person", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const [subkey] = alice.subkeys;
  const people = { alice: { keys: [alice] } };
  const bySubkey = await signedBy(alice, undefined, { by: subkey?.getKeyID() ?? alice.getKeyID() });
  const outcome = await judged([await signedBy(alice), bySubkey], people);
  expect(outcome).toMatchObject({ met: false, people: 1 });
  expect(codesOf(outcome)).toEqual({ "signature-2": "same-person" });
});

test("counts a signature by a subkey under the primary key's fingerprint", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true }] });
  const by = alice.subkeys[0]?.getKeyID() ?? alice.getKeyID();
  const outcome = await judged([await signedBy(alice, undefined, { by })], { alice: { keys: [alice] } });
  expect(outcome.accepted).toMatchObject([
    { person: "alice", fingerprint: alice.getFingerprint().toUpperCase() },
  ]);
});
