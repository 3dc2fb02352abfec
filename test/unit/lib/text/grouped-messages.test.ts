import { expect, test } from "vitest";
import { groupMessages } from "../../../../lib/text/grouped-messages.ts";

test("names with the same message share a line, in the order of the first", () => {
  expect(
    groupMessages([
      ["a", "one"],
      ["b", "two"],
      ["c", "one"],
    ]),
  ).toEqual(["a, c: one", "b: two"]);
  expect(groupMessages([])).toEqual([]);
});

test("counts the names and lines beyond the limits", () => {
  const names = Array.from({ length: 513 }, (_, index) => `image-${index}`);
  const first = names.slice(0, 10).join(", ");
  expect(groupMessages(names.map((name) => [name, "unsigned"]))).toEqual([`${first} and 503 more: unsigned`]);
  const own = groupMessages(names.map((name) => [name, `of ${name}`]));
  expect(own).toHaveLength(101);
  expect(own.at(-1)).toBe("and 413 more with other messages");
});
