import { expect, test } from "vitest";
import { type QuorumEntry, QuorumSummary } from "../../../../pipeline/quorum/quorum-summary.ts";

const shortfall = { people: 1, vendors: 0, signatures: 1, helpfulPeople: ["bob"], helpfulVendors: [] };
const outputs = { people: 1, vendors: 1, accepted: [], rejected: [], words: "1 of 2 people (alice)" };
const below = (wasMet: boolean): QuorumEntry => ({
  ...{ outputs: { ...outputs, met: false }, missing: shortfall, wasMet, isInDoubt: false },
});
const met: QuorumEntry = { outputs: { ...outputs, met: true }, wasMet: true, isInDoubt: false };

test("images below quorum are counted, those apart that were at quorum before, and alike needs put together", () => {
  const docket = new QuorumSummary();
  docket.note("core-b", below(true));
  docket.note("core-a", below(false));
  docket.note("core-c", met);
  expect(docket.summary()).toEqual({
    pending: { "core-a": "1 of 2 people (alice)", "core-b": "1 of 2 people (alice)" },
    fallen: ["core-b"],
    signatures: 2,
    text: [
      "2 of 3 images judged are below quorum, 1 of which were at quorum before: core-b.",
      "The least that must be signed: 2 signatures.",
      "  core-a, core-b: 1 of 2 people (alice)",
    ].join("\n"),
  });
});

test("of an image that is judged again what was found last counts, and whether it was met at first", () => {
  const docket = new QuorumSummary();
  docket.note("core-a", below(true));
  docket.note("core-a", below(false));
  expect(docket.summary().fallen).toEqual(["core-a"]);
  docket.note("core-a", met);
  expect(docket.summary()).toMatchObject({ pending: {}, fallen: [], signatures: 0 });
});

test("an image that hangs on a file among the keys is told of apart: no signature helps it", () => {
  const docket = new QuorumSummary();
  docket.note("core-a", { outputs: { ...outputs, met: false }, wasMet: true, isInDoubt: true });
  expect(docket.summary()).toMatchObject({ fallen: ["core-a"], signatures: 0 });
  expect(docket.summary().text).toBe(
    [
      "1 of 1 images judged are below quorum, 1 of which were at quorum before: core-a.",
      "  core-a: 1 of 2 people (alice)",
      "1 image has enough signatures, but something among the keys may revoke one of them: see the warnings.",
    ].join("\n"),
  );
});
