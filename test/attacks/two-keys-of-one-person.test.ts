import { expect, test } from "vitest";
import { codesOf, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

test("counts two keys of one person as one person", async () => {
  const [first, second] = [await newKey("alice"), await newKey("alice-at-work")];
  const people = { alice: { keys: [first, second] }, bob: { keys: [await newKey("bob")] } };
  const outcome = await judged([await signedBy(first), await signedBy(second)], people);
  expect(outcome).toMatchObject({ met: false, people: 1 });
  expect(codesOf(outcome)).toEqual({ "signature-2": "same-person" });
});
