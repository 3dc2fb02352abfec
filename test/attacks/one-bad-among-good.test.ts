import fc from "fast-check";
import { expect, test } from "vitest";
import { codesOf, digest, judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

test("a bad file does not affect the good ones", async () => {
  const [alice, bob, mallory] = [await newKey("alice"), await newKey("bob"), await newKey("mallory")];
  const people = { alice: { keys: [alice] }, bob: { keys: [bob] } };
  const files = [Buffer.from("junk"), await signedBy(alice), await signedBy(mallory), await signedBy(bob)];
  const outcome = await judged(files, people);
  expect(outcome).toMatchObject({ met: true, people: 2 });
  expect(codesOf(outcome)).toEqual({ "signature-1": "not-openpgp", "signature-3": "unknown-key" });
});

test("a modified message counts for what was signed, or not at all", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = { alice: { keys: [alice] }, bob: { keys: [bob] } };
  const [good, other] = [await signedBy(alice, payload({ manifest: digest })), await signedBy(bob)];
  const changes = fc.record({
    at: fc.nat(good.length - 1),
    to: fc.nat(255),
    cut: fc.nat(good.length),
    junk: fc.uint8Array({ maxLength: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(changes, fc.boolean(), async ({ at, to, cut, junk }, splice) => {
      const bytes = Buffer.from(good);
      bytes[at] = to;
      const bad = splice ? Buffer.concat([bytes.subarray(0, cut), junk, good.subarray(cut)]) : bytes;
      const outcome = await judged([bad, other], people);
      expect(outcome.accepted.map(({ person }) => person)).toContain("bob");
      expect(outcome.accepted.length + outcome.rejected.length).toBe(2);
    }),
    { numRuns: 400 },
  );
});

test("detects a change of the signed bytes", async () => {
  const alice = await newKey("alice");
  const good = Buffer.from(await signedBy(alice));
  // The whole of it: a lone "{" may just as well be a byte of the key's id before it.
  const start = good.indexOf(payload());
  expect(start).toBeGreaterThan(0);
  for (let at = start; at < start + payload().length; at++) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ 1;
    expect(codesOf(await judged([bad], { alice: { keys: [alice] } }))).toEqual({
      "signature-1": "bad-signature",
    });
  }
});
