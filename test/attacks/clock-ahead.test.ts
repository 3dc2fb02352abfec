import { type PrivateKey, reformatKey } from "openpgp";
import { describe, expect, test } from "vitest";
import { codesOf, daysFromNow, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

const minutesFromNow = (minutes: number) => new Date(Date.now() + minutes * 60_000);
const one = { threshold: 1, vendors: 0 };
const outcomeOf = async (key: PrivateKey, signature: Uint8Array) =>
  await judged([signature], { alice: { keys: [key] } }, one);

describe("dates up to five minutes ahead are accepted", () => {
  test("of a signature", async () => {
    const alice = await newKey("alice");
    expect(
      await outcomeOf(alice, await signedBy(alice, undefined, { date: minutesFromNow(4) })),
    ).toMatchObject({ met: true });
    const late = await outcomeOf(alice, await signedBy(alice, undefined, { date: minutesFromNow(6) }));
    expect(codesOf(late)).toEqual({ "signature-1": "future-signature" });
    expect(late.rejected[0]?.reason).toContain("more than 5 minutes ahead");
  });

  test("of a new key, and of its first signature", async () => {
    const alice = await newKey("alice", { date: minutesFromNow(3), subkeys: [{ sign: true }] });
    const [subkey] = alice.subkeys;
    const by = subkey ? { by: subkey.getKeyID() } : {};
    expect(
      await outcomeOf(alice, await signedBy(alice, undefined, { date: minutesFromNow(4) })),
    ).toMatchObject({ met: true });
    expect(
      await outcomeOf(alice, await signedBy(alice, undefined, { date: minutesFromNow(4), ...by })),
    ).toMatchObject({ met: true });
  });

  test("of a renewed certificate, with an older signature", async () => {
    const alice = await newKey("alice");
    const signature = await signedBy(alice);
    const renewed = async (minutes: number) => {
      const userIDs = [{ name: "alice" }];
      const { privateKey } = await reformatKey({
        privateKey: alice,
        userIDs,
        date: minutesFromNow(minutes),
        format: "object",
      });
      return privateKey;
    };
    expect(await outcomeOf(await renewed(4), signature)).toMatchObject({ met: true });
    expect(codesOf(await outcomeOf(await renewed(8), signature))).toEqual({ "signature-1": "invalid-key" });
  });
});

test("but an expiry counts at once", async () => {
  const day = 24 * 3600;
  const expired = await newKey("alice", { date: daysFromNow(-2), keyExpirationTime: 2 * day - 60 });
  const signature = await signedBy(expired, undefined, { date: daysFromNow(-1) });
  expect(codesOf(await outcomeOf(expired, signature))).toEqual({ "signature-1": "expired-key" });
});
