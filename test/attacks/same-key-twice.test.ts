import { expect, test } from "vitest";
import { codesOf, judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

test("counts one key that signs twice as one person", async () => {
  const alice = await newKey("alice");
  const people = { alice: { keys: [alice] }, bob: { keys: [await newKey("bob")] } };
  const outcome = await judged(
    [await signedBy(alice), await signedBy(alice, payload({ optional: { n: 2 } }))],
    people,
  );
  expect(outcome).toMatchObject({ met: false, people: 1 });
  expect(codesOf(outcome)).toEqual({ "signature-2": "same-person" });
});

test("counts one file under two names as one person", async () => {
  const alice = await newKey("alice");
  const bytes = await signedBy(alice);
  const outcome = await judged([bytes, bytes], { alice: { keys: [alice] } });
  expect(outcome).toMatchObject({ met: false, people: 1 });
});
