import { expect, test } from "vitest";
import { formatProblem, TreeError } from "../../../distro/tree-error.ts";

const long = "constructor".repeat(20_000);
const place = { file: "packages/core/x/package.toml", allowed: "a sha256" };

test.each(["file", "field", "found", "allowed", "fix"] as const)(
  "shortens a problem's %s that is too long",
  (part) => {
    const text = formatProblem({ ...place, found: "nothing", [part]: long });
    expect(text.length).toBeLessThan(1000);
    expect(text).toContain("more characters");
  },
);

test("keeps a path of the longest length that a system allows", () => {
  const file = "a/".repeat(2000);
  expect(formatProblem({ ...place, file, found: "nothing" })).toContain(file);
});

test("limits a message of many long lines, and counts the omitted ones", () => {
  const problems = Array.from({ length: 150 }, (_, index) => ({
    ...place,
    field: `kind${index}`,
    found: "y".repeat(4000),
  }));
  const { message } = new TreeError(problems);
  expect(message.length).toBeLessThan(110_000);
  expect(message).toMatch(/… and 1\d\d more$/);
});
