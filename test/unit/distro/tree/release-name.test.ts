import { expect, test } from "vitest";
import {
  compareReleases,
  formatReleaseName,
  parseReleaseName,
} from "../../../../distro/tree/release-name.ts";

test("parses and formats a release's name", () => {
  expect(parseReleaseName("2026.03.10")).toEqual({ year: 2026, month: 3, number: 10 });
  expect(formatReleaseName({ year: 2026, month: 3, number: 10 })).toBe("2026.03.10");
});

test.each([
  "2026.3.0",
  "2026.13.0",
  "2026.00.0",
  "26.03.0",
  "2026.03",
  "2026.03.01",
  "v2026.03.0",
  "2026.03.0-rc1",
  "",
])("rejects %s", (text) => {
  expect(() => parseReleaseName(text)).toThrow(/not a release/);
});

test("orders releases as numbers, not as text", () => {
  const sorted = ["2025.12.9", "2026.01.0", "2026.01.2", "2026.01.10"];
  expect([...sorted].reverse().map(parseReleaseName).sort(compareReleases).map(formatReleaseName)).toEqual(
    sorted,
  );
});
