import type { Source } from "../../distro/build-plan.ts";
import { printable } from "../../lib/text/printable.ts";

/**
 * A place that did not give the source, and the reason; `got` is the sha256 of the file that it
 * gave, if any.
 */
export type SourceFailure = { readonly from: string; readonly reason: string; readonly got: string | null };

/**
 * A step in obtaining a source; `from` is a file of the local archive, a vault's place or a mirror.
 */
export type SourceProgress =
  | { readonly kind: "trying"; readonly from: string }
  | {
      readonly kind: "bytes";
      readonly from: string;
      readonly received: number;
      readonly total: number | null;
    }
  | ({
      readonly kind: "failed";
      /**
       * True if a place of the vault or Software Heritage failed in a way not yet reported in this
       * run.
       */
      readonly isNews?: true;
    } & SourceFailure)
  /**
   * Every archive, mirror and vault has failed: Software Heritage is asked, or has given the
   * source.
   */
  | { readonly kind: "last-resort"; readonly phase: "asked" | "given"; readonly from: string };

/** Raised for a source that every place failed to give. The message lists the failure of each. */
export class SourceError extends Error {
  readonly source: string;
  readonly expected: string;
  readonly failures: readonly SourceFailure[];

  constructor(source: Source, failures: readonly SourceFailure[]) {
    const tried = failures.map(({ from, reason }) => printable`\n  ${from}: ${reason}`).join("");
    super(
      printable`source ${source.name} (${source.file}) can't be obtained; expected sha256 ${source.sha256}` +
        `${tried === "" ? "\n  it names no mirror, and the local archive does not have it" : tried}` +
        printable`\nPut the right file at fetch/<stage>/<package>/${source.file}, or name a working mirror in package.toml.`,
    );
    this.name = "SourceError";
    this.source = source.name;
    this.expected = source.sha256;
    this.failures = failures;
  }
}
