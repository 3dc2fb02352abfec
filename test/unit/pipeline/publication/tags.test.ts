import { expect, test } from "vitest";
import { isTag, orderTags, tagsOf } from "../../../../pipeline/publication/tags.ts";

test("tags an image with version, release and latest, in this order", () => {
  expect(tagsOf("1.36.1", "2026.03.0")).toEqual(["1.36.1", "sx2026.03.0", "latest"]);
  expect(tagsOf("1.36.1")).toEqual(["1.36.1", "latest"]);
});

test("tags an image of version latest with that tag once", () => {
  expect(tagsOf("latest", "2026.03.0")).toEqual(["sx2026.03.0", "latest"]);
});

test.each([
  [
    ["latest", "1.0"],
    ["1.0", "latest"],
  ],
  [
    ["1.0", "latest", "1.0", "sx1"],
    ["1.0", "sx1", "latest"],
  ],
  [
    ["b", "a"],
    ["b", "a"],
  ],
])("orders tags %j as %j: latest last, each once", (tags, order) => {
  expect(orderTags(tags)).toEqual(order);
});

test.each([
  ["1.36.1", true],
  ["_x-1", true],
  ["a".repeat(128), true],
  ["a".repeat(129), false],
  ["", false],
  [".1", false],
  ["-1", false],
  ["1.0+git", false],
  ["../1", false],
  ["1\n", false],
])("%j is a tag: %s", (text, expected) => {
  expect(isTag(text)).toBe(expected);
});
