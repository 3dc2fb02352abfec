import { expect, test } from "vitest";
import { summarizeRun } from "../../../../cli/output/run-summary.ts";
import { parseRunReport, type RunReportEntry } from "../../../../pipeline/context/run-report.ts";

const [published, other] = ["1".repeat(64), "2".repeat(64)];
const noted = (origin: RunReportEntry["origin"], hex?: string): RunReportEntry => ({
  image: "core-sh",
  ...(hex === undefined ? {} : { digest: `sha256:${hex}` }),
  origin,
  ...(origin === "built" ? { seconds: 2 } : {}),
});

test.each([
  ["built, and equal", noted("built", published), undefined, published, "built"],
  ["found in the ledger", noted("ledger", published), undefined, published, "reused"],
  ["pulled", noted("substituted", published), undefined, published, "pulled"],
  ["left as it was", noted("unchanged"), published, published, "reused"],
  ["never made", undefined, undefined, undefined, "not reached"],
  ["behind one that failed, and made by an earlier run", undefined, published, undefined, "not reached"],
  ["not to be built, and made by an earlier run", noted("failed"), published, undefined, "failed"],
  ["built, and another than published", noted("failed", other), published, other, "failed"],
  ["built, another than published, and not compared", noted("built", other), undefined, other, "built"],
  ["left as it was, and not compared", noted("unchanged"), other, other, "reused"],
] as const)("an image that was %s", (_, entry, standing, shown, outcome) => {
  const digests = new Map(standing === undefined ? [] : [["core-sh", `sha256:${standing}`]]);
  const journal = new Map(entry === undefined ? [] : [["core-sh", entry]]);
  const [row] = summarizeRun([{ name: "core-sh", version: "1.0", published }], digests, journal, "all");
  expect(row).toEqual({
    isNew: false,
    image: "core-sh",
    digest: shown === undefined ? undefined : `sha256:${shown}`,
    outcome,
    seconds: entry?.seconds,
    published: `sha256:${published}`,
  });
});

test("marks an image with other inputs as new, unless it failed", () => {
  const chosen = [{ name: "core-sh", version: "1.0", published }];
  const isNew = (entry: RunReportEntry) =>
    summarizeRun(chosen, new Map(), new Map([["core-sh", entry]]), "release")[0]?.isNew;
  expect(isNew(noted("built", other))).toBe(true);
  expect(isNew(noted("failed", other))).toBe(false);
});

test("keeps the digest and time of a build that is refused afterwards", () => {
  const lines = [noted("built", other), noted("failed")].map((entry) => JSON.stringify(entry));
  expect(parseRunReport(lines.join("\n")).get("core-sh")).toEqual({
    ...noted("built", other),
    origin: "failed",
  });
});
