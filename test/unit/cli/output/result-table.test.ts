import { expect, test } from "vitest";
import { formatResultTable, type ResultRow } from "../../../../cli/output/result-table.ts";

const digest = `sha256:${"a".repeat(64)}`;
const other = `sha256:${"b".repeat(64)}`;
const row: ResultRow = { image: "core-cat", digest, outcome: "built", seconds: 1.26, published: digest };

test("shows image, digest, outcome, seconds and the comparison with the published digest", () => {
  expect(formatResultTable([row])).toMatch(new RegExp(`core-cat  ${digest}  built  1\\.3 +equal`));
});

test("shows both digests if they differ", () => {
  const table = formatResultTable([{ ...row, published: other, outcome: "failed" }]);
  expect(table).toContain(`DIFFERS: ${other}`);
  expect(table).toContain("0 of 1 equal to the published digests, 1 failed.");
});

test("shows an image with other inputs as new, with the published digest", () => {
  const table = formatResultTable([row, { ...row, published: other, isNew: true }]);
  expect(table).toContain(`new, was ${other}`);
  expect(table).toContain("1 of 2 equal to the published digests, 1 new.");
});

test("ends with a line of totals", () => {
  const rows = [
    row,
    { ...row, outcome: "reused", seconds: undefined },
    { ...row, published: undefined },
  ] as const;
  expect(formatResultTable(rows).split("\n").at(-1)).toBe(
    "2 built, 1 reused, 2 of 2 equal to the published digests.",
  );
});

test("shows neither digest nor comparison for an image that was not reached", () => {
  const table = formatResultTable([
    { ...row, digest: undefined, outcome: "not reached", seconds: undefined },
  ]);
  expect(table).toMatch(/core-cat +- +not reached +- +-/);
  expect(table).toContain("0 of 1 equal to the published digests, 1 not reached.");
});

test("counts pulled images if there are any", () => {
  const table = formatResultTable([{ ...row, outcome: "pulled", seconds: undefined }]);
  expect(table.split("\n").at(-1)).toBe(
    "0 built, 0 reused, 1 of 1 equal to the published digests, 1 pulled.",
  );
});
