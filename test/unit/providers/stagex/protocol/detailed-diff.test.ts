import { expect, test } from "vitest";
import { unknown } from "../../../../../pipeline/unknown-schema.ts";
import { detailedDiff } from "../../../../../providers/stagex/protocol/detailed-diff.ts";
import { Secret } from "../../../../../providers/stagex/protocol/property-values.ts";

const rules = { ignored: ["mirrors"], replacing: ["image"] };

test("reports a change at its innermost property", () => {
  const before = { buildArgs: { VERSION: "1", OLD: "x" }, dependencies: { "core-a": "1", "core-b": "2" } };
  const after = { buildArgs: { VERSION: "2", NEW: "y" }, dependencies: { "core-a": "1", "core-b": "3" } };
  expect(detailedDiff(before, after, rules)).toEqual([
    { path: "buildArgs.NEW", kind: "add", replaces: false },
    { path: "buildArgs.OLD", kind: "delete", replaces: false },
    { path: "buildArgs.VERSION", kind: "update", replaces: false },
    { path: 'dependencies["core-b"]', kind: "update", replaces: false },
  ]);
});

test("reports no change for equal properties in another order", () => {
  expect(detailedDiff({ a: "1", b: { x: "1", y: "2" } }, { b: { y: "2", x: "1" }, a: "1" }, rules)).toEqual(
    [],
  );
});

test("skips ignored properties, and marks replacing ones", () => {
  const changes = detailedDiff(
    { mirrors: ["a"], image: "core-a" },
    { mirrors: ["b"], image: "core-b" },
    rules,
  );
  expect(changes).toEqual([{ path: "image", kind: "update", replaces: true }]);
});

test("treats an unknown as a change, even from another unknown", () => {
  const changed = [{ path: 'dependencies["core-a"]', kind: "update", replaces: false }];
  expect(
    detailedDiff({ dependencies: { "core-a": "1" } }, { dependencies: { "core-a": unknown } }, rules),
  ).toEqual(changed);
  expect(
    detailedDiff({ dependencies: { "core-a": unknown } }, { dependencies: { "core-a": unknown } }, rules),
  ).toEqual(changed);
});

test("treats an empty table, a missing one and null as equal, and an empty text as a value", () => {
  expect(detailedDiff({ target: null, buildArgs: {} }, {}, rules)).toEqual([]);
  expect(detailedDiff({}, { target: "" }, rules)).toEqual([{ path: "target", kind: "add", replaces: false }]);
});

test("reports no change when a value becomes secret", () => {
  expect(detailedDiff({ expectedDigest: "x" }, { expectedDigest: new Secret("x") }, rules)).toEqual([]);
});

test("treats a list as one property", () => {
  expect(detailedDiff({ platforms: ["a"] }, { platforms: ["a", "b"] }, rules)).toEqual([
    { path: "platforms", kind: "update", replaces: false },
  ]);
});
