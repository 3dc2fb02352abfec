import { expect, test } from "vitest";
import { runRows } from "../../../cli/run-rows.ts";
import type { JournalEntry } from "../../../providers/stagex/journal.ts";

const [published, other] = ["1".repeat(64), "2".repeat(64)];
const noted = (origin: JournalEntry["origin"], hex: string): JournalEntry => ({
  image: "core-sh",
  digest: `sha256:${hex}`,
  origin,
  ...(origin === "built" ? { seconds: 2 } : {}),
});

test.each([
  ["built, and equal", noted("built", published), published, true, "built"],
  ["found in the ledger", noted("ledger", published), published, true, "reused"],
  ["pulled", noted("substituted", published), published, true, "pulled"],
  ["left as it was", undefined, published, true, "reused"],
  ["never made", undefined, undefined, true, "not reached"],
  ["built, and another than published", noted("built", other), undefined, true, "failed"],
  ["known from the ledger to be another than published", noted("ledger", other), other, true, "failed"],
  ["behind one that failed, and from an older tree", undefined, other, true, "not reached"],
  ["built, another than published, and not compared", noted("built", other), other, false, "built"],
  ["left as it was, and not compared", undefined, other, false, "reused"],
] as const)("an image that was %s", (_, entry, standing, isCompared, outcome) => {
  const digests = new Map(standing === undefined ? [] : [["core-sh", `sha256:${standing}`]]);
  const journal = new Map(entry === undefined ? [] : [["core-sh", entry]]);
  const [row] = runRows([{ name: "core-sh", version: "1.0", published, isCompared }], digests, journal);
  expect(row).toEqual({
    image: "core-sh",
    digest: entry?.digest ?? digests.get("core-sh"),
    outcome,
    seconds: entry?.seconds,
    published: `sha256:${published}`,
  });
});
