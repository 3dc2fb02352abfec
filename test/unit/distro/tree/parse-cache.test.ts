import { join } from "node:path";
import { expect, test } from "vitest";
import { parseContainerfile } from "../../../../distro/recipe/containerfile-parser.ts";
import { ParseCache } from "../../../../distro/tree/parse-cache.ts";
import { readTreeSource } from "../../../../distro/tree/tree.ts";
import { openWorkingTree } from "../../../../distro/tree/working-tree.ts";
import { projectRoot } from "../../../../lib/paths.ts";
import { MemoryTree } from "../../../support/builders/memory-tree.ts";

const parse = (text: string) => () => parseContainerfile("x", text);

test("parses a file with the same text once", () => {
  const { recipes } = new ParseCache();
  const first = recipes.of("x", "FROM scratch", parse("FROM scratch"));
  expect(recipes.of("x", "FROM scratch", parse("FROM scratch"))).toBe(first);
});

test("parses another text or another file anew, and caches no failure", () => {
  const { recipes } = new ParseCache();
  const first = recipes.of("x", "FROM scratch", parse("FROM scratch"));
  expect(recipes.of("y", "FROM scratch", parse("FROM scratch"))).not.toBe(first);
  expect(recipes.of("x", "FROM stagex/core-a", parse("FROM stagex/core-a")).dependencies).toHaveLength(1);
  for (const _ of ["once", "again"]) expect(() => recipes.of("z", "FORM", parse("FORM"))).toThrow("FORM");
});

test("reads a tree alike with and without another tree's cache", async () => {
  const before = await MemoryTree.copyOf(await openWorkingTree(join(projectRoot, "examples/seed-tree")));
  const changed = Object.fromEntries(
    before.files
      .filter(({ path }) => path.endsWith("/package.toml"))
      .map(({ path }) => [path, before.text(path).replace(/^version = "/m, "$&9.")]),
  );
  const after = before.edited(changed);
  const parsed = new ParseCache();
  const old = await readTreeSource(before, { parseCache: parsed });
  const current = await readTreeSource(after, { parseCache: parsed });
  expect(current).toEqual(await readTreeSource(after));
  expect(current.images).not.toEqual(old.images);
  expect(await readTreeSource(before, { parseCache: parsed })).toEqual(old);
});
