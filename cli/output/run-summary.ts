import type { VerifyMode } from "../../config/schema.ts";
import type { RunReportEntry } from "../../pipeline/context/run-report.ts";
import type { ResultRow } from "./result-table.ts";

/** An image that a stack is to have. */
export type ChosenImage = {
  readonly name: string;
  readonly version: string;
  /** The digest (64 hex digits) that its tree publishes for it. */
  readonly published: string | undefined;
};

/**
 * Returns what a run did to each chosen image. An image that the run did not reach has no digest,
 * even if the state has an earlier one.
 * @param digests the state after the run: `sha256:…` by image
 * @param journal the run's report
 * @param verify the setting of the run: unless all images are compared, one that did not fail may
 *   have another digest
 */
export function summarizeRun(
  chosen: readonly ChosenImage[],
  digests: ReadonlyMap<string, string>,
  journal: ReadonlyMap<string, RunReportEntry>,
  verify: VerifyMode,
): ResultRow[] {
  return chosen.map(({ name, published }) => {
    const entry = journal.get(name);
    return {
      image: name,
      digest: entry?.origin === "unchanged" ? digests.get(name) : entry?.digest,
      outcome: entry === undefined ? "not reached" : outcomes[entry.origin],
      seconds: entry?.seconds,
      published: published === undefined ? undefined : `sha256:${published}`,
      isNew: verify !== "all" && entry?.origin !== "failed",
    };
  });
}

const outcomes = {
  built: "built",
  ledger: "reused",
  substituted: "pulled",
  unchanged: "reused",
  failed: "failed",
} as const;
