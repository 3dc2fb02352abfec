import { type Printable, printable } from "../../lib/text/printable.ts";
import type { PushReport, PushStatus } from "../../sources/push-to-vault.ts";

/** The result of pushing one source to each place of the vault. */
export type PushedSource = Readonly<Record<string, PushStatus>>;

/** Checks whether a place lacks something that is here. */
export function hasFailed({ status }: PushReport): boolean {
  return [...status.values()].includes("failed");
}

/** Gathers the results of one source. */
export function pushedSource(sha256: string, reports: readonly PushReport[]): PushedSource {
  return Object.fromEntries(reports.map(({ place, status }) => [place, status.get(sha256) ?? "absent"]));
}

/** The most failures of a place that are printed; the others mostly have the same reasons. */
const shownFailures = 10;

/** Formats the report on the vault: for each place the counts, and the reasons of its failures. */
export function formatPushReports(reports: readonly PushReport[]): Printable[] {
  return reports.flatMap(({ place, status, failures }) => {
    const count = (wanted: string) => [...status.values()].filter((one) => one === wanted).length;
    const more = failures.length - shownFailures;
    return [
      printable`vault ${place}: ${count("pushed")} pushed, ${count("there")} there before, ${count("failed")} failed, ${count("absent")} not here`,
      ...failures.slice(0, shownFailures).map((reason) => printable`  ${reason}`),
      ...(more > 0 ? [printable`  and ${more} more`] : []),
    ];
  });
}
