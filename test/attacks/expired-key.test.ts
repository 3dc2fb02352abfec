import { reformatKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, daysFromNow, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

const oneDay = 24 * 3600;

test("rejects a key that has expired since it signed", async () => {
  const alice = await newKey("alice", { keyExpirationTime: 1.5 * oneDay });
  const outcome = await judged([await signedBy(alice)], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "expired-key" });
});

test("rejects an expired subkey", async () => {
  const alice = await newKey("alice", { subkeys: [{ sign: true, keyExpirationTime: 1.5 * oneDay }] });
  const by = alice.subkeys[0]?.getKeyID() ?? alice.getKeyID();
  const outcome = await judged([await signedBy(alice, undefined, { by })], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "expired-key" });
});

test("accepts a renewed key, though another copy of it has expired", async () => {
  const old = await newKey("alice", { keyExpirationTime: 1.5 * oneDay });
  const signature = await signedBy(old);
  const { privateKey: renewed } = await reformatKey({
    privateKey: old,
    userIDs: [{ name: "alice", email: "alice@seed-tree.example" }],
    keyExpirationTime: 10 * oneDay,
    date: daysFromNow(-0.6),
    format: "object",
  });
  for (const keys of [[renewed], [renewed, old], [old, renewed]]) {
    const outcome = await judged([signature], { alice: { keys } }, { threshold: 1, vendors: 0 });
    expect(outcome).toMatchObject({ met: true, rejected: [] });
  }
});

test("rejects a signature from the future", async () => {
  const alice = await newKey("alice");
  const outcome = await judged([await signedBy(alice, undefined, { date: daysFromNow(1) })], {
    alice: { keys: [alice] },
  });
  expect(codesOf(outcome)).toEqual({ "signature-1": "future-signature" });
});
