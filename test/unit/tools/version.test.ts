import { expect, test } from "vitest";
import { compareVersions, formatVersion, isWithin, parseVersion } from "../../../tools/version.ts";

test.each([
  ["buildkitd github.com/moby/buildkit v0.34.2 0123abc", "0.34.2"],
  ["runc version 1.1.5+ds1\nspec: 1.0.2", "1.1.5"],
  ["go1.22", "1.22.0"],
  ["GNU bash, version 5.2.15(1)-release", "5.2.15"],
])("finds the version in a text: %j", (text, version) => {
  expect(formatVersion(parseVersion(text) ?? [0, 0, 0])).toBe(version);
});

test("returns null where there is no version", () => {
  expect(parseVersion("devel")).toBeNull();
});

test("compares versions by number, not by character", () => {
  expect(compareVersions([3, 256, 0], [3, 99, 9])).toBeGreaterThan(0);
  expect(compareVersions([0, 9, 0], [0, 34, 2])).toBeLessThan(0);
  expect(compareVersions([1, 2, 3], [1, 2, 3])).toBe(0);
});

test("includes the start of a range, and excludes its end", () => {
  const range = { from: [0, 32, 0], below: [0, 35, 0] } as const;
  expect(isWithin([0, 32, 0], range)).toBe(true);
  expect(isWithin([0, 34, 9], range)).toBe(true);
  expect(isWithin([0, 35, 0], range)).toBe(false);
  expect(isWithin([0, 31, 9], range)).toBe(false);
});
