import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { pruneFolder, pruneSharedFolder } from "../../../../lib/fs/prune-folder.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const wide = { count: 1000, bytes: 1 << 30, maxAge: 60_000 };

/** Files of 100,000 bytes, `a` the oldest. */
async function folderOf(names: string): Promise<string> {
  const folder = await scratchFolder();
  for (const name of names) {
    writeFileSync(join(folder, name), Buffer.alloc(100_000, 1));
    await sleep(15);
  }
  return folder;
}

test("keeps entries within the limits", async () => {
  const folder = await folderOf("abc");
  await pruneFolder(folder, wide);
  expect(readdirSync(folder)).toEqual(["a", "b", "c"]);
});

test("removes the oldest entries beyond the count or the bytes", async () => {
  const folder = await folderOf("abcde");
  await pruneFolder(folder, { ...wide, count: 3 });
  expect(readdirSync(folder)).toEqual(["c", "d", "e"]);
  await pruneFolder(folder, { ...wide, bytes: 250_000 });
  expect(readdirSync(folder)).toEqual(["d", "e"]);
});

test("keeps the newest entry however large, but not beyond the age", async () => {
  const folder = await folderOf("ab");
  await pruneFolder(folder, { ...wide, bytes: 1 });
  expect(readdirSync(folder)).toEqual(["b"]);
  await pruneFolder(folder, { ...wide, maxAge: 1 });
  expect(readdirSync(folder)).toEqual([]);
});

test("keeps entries that have just changed, and others than leftovers", async () => {
  const folder = await folderOf("abc");
  await pruneFolder(folder, { ...wide, count: 0, minAge: 60_000 });
  await pruneFolder(folder, { ...wide, count: 0 }, (name) => name === "b");
  expect(readdirSync(folder)).toEqual(["a", "c"]);
});

test("removes folders and links, but not a link's target", async () => {
  const [folder, other] = [await scratchFolder(), await folderOf("x")];
  mkdirSync(join(folder, "deep"));
  writeFileSync(join(folder, "deep/file"), "x");
  symlinkSync(other, join(folder, "link"));
  await pruneFolder(folder, { ...wide, count: 0 });
  expect(readdirSync(folder)).toEqual([]);
  expect(readdirSync(other)).toEqual(["x"]);
});

test("does nothing where the folder itself is a link", async () => {
  const [folder, other] = [await scratchFolder(), await folderOf("x")];
  symlinkSync(other, join(folder, "link"));
  await pruneFolder(join(folder, "link"), { ...wide, count: 0 });
  expect(readdirSync(other)).toEqual(["x"]);
});

test("does nothing where there is no folder", async () => {
  await expect(pruneFolder(join(await scratchFolder(), "none"), wide)).resolves.toBeUndefined();
});

test("removes only leftover files of a shared folder, and reads a limited number of entries", async () => {
  const folder = await folderOf("abcde");
  mkdirSync(join(folder, "deep"));
  const none = { ...wide, count: 0 };
  await pruneSharedFolder(folder, none, { isLeftover: (name) => name === "a" || name === "deep", most: 10 });
  expect(readdirSync(folder)).toEqual(["b", "c", "d", "deep", "e"]);
  await pruneSharedFolder(folder, none, { isLeftover: (name) => name !== "deep", most: 2 });
  expect(readdirSync(folder).length).toBeGreaterThanOrEqual(3);
  await pruneSharedFolder(folder, none, { isLeftover: () => true, most: 10 });
  expect(readdirSync(folder)).toEqual(["deep"]);
});

test("does nothing where a shared folder is a link", async () => {
  const [folder, other] = [await scratchFolder(), await folderOf("x")];
  symlinkSync(other, join(folder, "link"));
  await pruneSharedFolder(join(folder, "link"), { ...wide, count: 0 }, { isLeftover: () => true, most: 10 });
  expect(readdirSync(other)).toEqual(["x"]);
});
