import type { JournalEntry } from "../providers/stagex/journal.ts";
import type { ResultRow } from "./result-table.ts";

/** An image that a stack was to have. */
export type ChosenImage = {
  readonly name: string;
  readonly version: string;
  /** The digest (64 hex digits) that its tree publishes for it. */
  readonly published: string | undefined;
  /** Whether it fails with another one (`stagex:verify`). */
  readonly isCompared: boolean;
};

/**
 * What a run did to the chosen images.
 * @param digests what stands in the state after it, `sha256:…` by image
 * @param journal what the run noted
 */
export function runRows(
  chosen: readonly ChosenImage[],
  digests: ReadonlyMap<string, string>,
  journal: ReadonlyMap<string, JournalEntry>,
): ResultRow[] {
  return chosen.map((image) => {
    const entry = journal.get(image.name);
    const digest = entry?.digest ?? digests.get(image.name);
    const published = image.published === undefined ? undefined : `sha256:${image.published}`;
    const isRefused = image.isCompared && published !== undefined && digest !== published;
    const outcome = outcomeOf(entry, digest, isRefused);
    return { image: image.name, digest, outcome, seconds: entry?.seconds, published };
  });
}

/** Without an entry the run left the image as it was, or did not come to it: then what stands may be of an older tree. */
function outcomeOf(
  entry: JournalEntry | undefined,
  digest: string | undefined,
  isRefused: boolean,
): ResultRow["outcome"] {
  if (entry) return isRefused ? "failed" : outcomes[entry.origin];
  return digest === undefined || isRefused ? "not reached" : "reused";
}

const outcomes = { built: "built", ledger: "reused", substituted: "pulled" } as const;
