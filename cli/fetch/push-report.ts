import { type Printable, printable } from "../../lib/text/printable.ts";
import type { PushReport, PushStatus } from "../../sources/push-to-vault.ts";

/** What became of one source at each place of the vault that was pushed to. */
export type PushedSource = Readonly<Record<string, PushStatus>>;

/** Whether a place lacks something that is here. */
export function hasFailed({ status }: PushReport): boolean {
  return [...status.values()].includes("failed");
}

/** Gathers what became of one source. */
export function pushedSource(sha256: string, reports: readonly PushReport[]): PushedSource {
  return Object.fromEntries(reports.map(({ place, status }) => [place, status.get(sha256) ?? "absent"]));
}

/** How many of a place's failures are printed; the others have the same reasons mostly. */
const shownFailures = 10;

/** The lines of a page that tell of the vault: for each place the counts, and why it took something not. */
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
