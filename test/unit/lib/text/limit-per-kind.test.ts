import { expect, test } from "vitest";
import { limitPerKind } from "../../../../lib/text/limit-per-kind.ts";

const shortened = (items: readonly string[]) =>
  limitPerKind(
    items,
    (item) => item.slice(0, 1),
    (item) => item,
    (count, example) => `and ${count} more like ${example}`,
  );

const many = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind}${index}`);

test("shows ten of a kind in their order, and counts the others", () => {
  expect(shortened([...many("a", 444), "b0"])).toEqual([...many("a", 10), "and 434 more like a9", "b0"]);
});

test("shows up to ten of a kind", () => {
  expect(shortened([...many("a", 10), ...many("b", 10)])).toEqual([...many("a", 10), ...many("b", 10)]);
  expect(shortened([])).toEqual([]);
});
