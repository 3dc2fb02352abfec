import { type Printable, printable, printableLines } from "../../lib/text/printable.ts";
import { formatTable } from "../../lib/text/text-table.ts";

/** One image of a finished run. */
export type ResultRow = {
  readonly image: string;
  /** `sha256:…`; undefined if the run did not reach it. */
  readonly digest: string | undefined;
  readonly outcome: "built" | "pulled" | "reused" | "failed" | "not reached";
  /** Seconds of its build in this run; undefined if it was not built. */
  readonly seconds: number | undefined;
  /** The digest that the tree publishes; undefined if there is none. */
  readonly published: string | undefined;
  /** Its inputs are others than those of the published digest, so its digest may differ. */
  readonly isNew?: boolean;
};

const heads = ["image", "digest", "", "seconds", "published digest"] as const;

/** Formats the table at the end of a run, with a line of totals. */
export function formatResultTable(rows: readonly ResultRow[]): Printable {
  const cells = [
    heads,
    ...rows.map((row) => [
      row.image,
      row.digest ?? "-",
      row.outcome,
      row.seconds === undefined ? "-" : row.seconds.toFixed(1),
      comparison(row),
    ]),
  ];
  return printableLines([...formatTable(cells), printable``, counts(rows)]);
}

function comparison({ digest, published, isNew }: ResultRow): string {
  if (!published) return "none";
  if (!digest) return "-";
  if (digest === published) return "equal";
  return isNew ? `new, was ${published}` : `DIFFERS: ${published}`;
}

function counts(rows: readonly ResultRow[]): Printable {
  const count = (wanted: (row: ResultRow) => boolean): number => rows.filter(wanted).length;
  const parts = [
    `${count((row) => row.outcome === "built")} built`,
    `${count((row) => row.outcome === "reused")} reused`,
    `${count((row) => comparison(row) === "equal")} of ${count((row) => row.published !== undefined)} equal to the published digests`,
  ];
  const renewed = count((row) => comparison(row).startsWith("new"));
  if (renewed > 0) parts.push(`${renewed} new`);
  for (const outcome of ["pulled", "failed", "not reached"] as const) {
    const times = count((row) => row.outcome === outcome);
    if (times > 0) parts.push(`${times} ${outcome}`);
  }
  return printable`${parts.join(", ")}.`;
}
