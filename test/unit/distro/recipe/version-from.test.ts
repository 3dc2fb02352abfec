import { expect, test } from "vitest";
import { resolveVersions, type Versioned } from "../../../../distro/recipe/version-from.ts";

function resolved(versions: Record<string, string | null>) {
  const images = new Map(
    Object.entries(versions).map(([name, text]): [string, Versioned] => {
      const from = text?.startsWith("from ") ? text.slice(5) : null;
      return [name, { version: from === null ? text : null, versionFrom: from }];
    }),
  );
  const problems: string[] = [];
  const answer = resolveVersions(images, (image, { found, allowed }) =>
    problems.push(`${image}: ${found}: ${allowed}`),
  );
  return { versions: Object.fromEntries(answer), problems };
}

test("follows a chain to its end", () => {
  expect(resolved({ a: "from b", b: "from c", c: "1.2", d: null, e: "from d" })).toEqual({
    versions: { a: "1.2", b: "1.2", c: "1.2", d: null, e: null },
    problems: [],
  });
});

test("reports an unknown image once, with the nearest", () => {
  expect(resolved({ a: "from core-pyhton", b: "from a", "core-python": "3" }).problems).toEqual([
    'a: "core-pyhton": an image of the tree; the nearest is core-python',
  ]);
});

test("reports a cycle once, with its path", () => {
  expect(resolved({ a: "from b", b: "from a", c: "from a" }).problems).toEqual([
    "a: the cycle a -> b -> a: a way to a package with a version",
  ]);
});
