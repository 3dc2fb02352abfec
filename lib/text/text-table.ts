import { type Printable, printableLine } from "./printable.ts";

/**
 * Formats the lines of a table. Columns are as wide as their widest cell; the last is not padded.
 * @param rows all of the same length, the heads first
 */
export function formatTable(rows: readonly (readonly string[])[]): Printable[] {
  const cells = rows.map((row) => row.map(printableLine));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells.map((row) =>
    printableLine(
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join("  ")
        .trimEnd(),
    ),
  );
}
