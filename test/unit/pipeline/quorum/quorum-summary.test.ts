import { expect, test } from "vitest";
import type { ImageQuorum } from "../../../../pipeline/quorum/evaluate-quorum.ts";
import { QuorumSummary } from "../../../../pipeline/quorum/quorum-summary.ts";

const missing = { people: 1, vendors: 0, signatures: 1, helpfulPeople: ["bob"], helpfulVendors: [] };
const outputs = { people: 1, vendors: 1, accepted: [], rejected: [], words: "1 of 2 people (alice)" };
const below: ImageQuorum = { outputs: { ...outputs, met: false }, missing };
const met: ImageQuorum = { outputs: { ...outputs, met: true } };

test("counts images below quorum, counts apart those that were at quorum before, and groups equal needs", () => {
  const summary = new QuorumSummary();
  summary.note("core-b", below, true);
  summary.note("core-a", below, false);
  summary.note("core-c", met, true);
  expect(summary.summary()).toEqual({
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

test("keeps the last quorum of an image, and whether it was met before the run", () => {
  const summary = new QuorumSummary();
  summary.note("core-a", below, true);
  summary.note("core-a", below, false);
  expect(summary.summary().fallen).toEqual(["core-a"]);
  summary.note("core-a", met, false);
  expect(summary.summary()).toMatchObject({ pending: {}, fallen: [], signatures: 0 });
});

test("counts no signature for an image that is in doubt, and refers to the warnings", () => {
  const summary = new QuorumSummary();
  summary.note("core-a", { outputs: { ...outputs, met: false } }, true);
  expect(summary.summary()).toMatchObject({ fallen: ["core-a"], signatures: 0 });
  expect(summary.summary().text).toBe(
    [
      "1 of 1 images judged are below quorum, 1 of which were at quorum before: core-a.",
      "  core-a: 1 of 2 people (alice)",
      "1 image has enough signatures, but something among the keys may revoke one of them: see the warnings.",
    ].join("\n"),
  );
});
