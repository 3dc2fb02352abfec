import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hashGitObject, isUnmodified } from "../../../../lib/git/git-tree-entry.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const diskKeeps = { modes: true, links: true };

test.each(["0".repeat(40), "0".repeat(64)])("compares a file with git's name of it, %#", async (like) => {
  const folder = await scratchFolder();
  writeFileSync(join(folder, "file"), "content", { mode: 0o644 });
  const recorded = { mode: "100644", path: "file" };
  const object = hashGitObject("blob", Buffer.from("content"), like);
  expect(isUnmodified(folder, { ...recorded, object }, diskKeeps)).toBe(true);
  expect(isUnmodified(folder, { ...recorded, mode: "100755", object }, diskKeeps)).toBe(false);
  writeFileSync(join(folder, "file"), "Content");
  expect(isUnmodified(folder, { ...recorded, object }, diskKeeps)).toBe(false);
});

test("compares a file that is too large to read at once", async () => {
  const folder = await scratchFolder();
  writeFileSync(join(folder, "file"), "", { mode: 0o644 });
  // 2 GiB of zeros, which take no place on a disk; `git hash-object` gives the name.
  truncateSync(join(folder, "file"), 2 ** 31);
  const object = "77e9132b46cb9535f286f18974872f40049d1a89";
  expect(isUnmodified(folder, { mode: "100644", path: "file", object }, diskKeeps)).toBe(true);
}, 120_000);
