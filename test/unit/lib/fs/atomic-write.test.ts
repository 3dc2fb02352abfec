import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { createFile, replaceFile } from "../../../../lib/fs/atomic-write.ts";
import { stampOf } from "../../../../lib/fs/file-stamp.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await scratchFolder();
  path = join(folder, "file");
});

test("replaces a file, returns the new one's stamp, and leaves nothing else behind", async () => {
  writeFileSync(path, "old");
  const stamp = await replaceFile(path, "new", { mode: 0o600 });
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(stampOf(path)).toBe(stamp);
  expect(readdirSync(folder)).toEqual(["file"]);
});

test("replaces a link and leaves its target alone", async () => {
  const target = join(folder, "target");
  writeFileSync(target, "target");
  symlinkSync(target, path);
  await replaceFile(path, "new", { flush: false });
  expect([readFileSync(path, "utf8"), readFileSync(target, "utf8")]).toEqual(["new", "target"]);
});

test("creates a file once, however many try at the same time", async () => {
  const results = await Promise.all(["a", "b", "c"].map((text) => createFile(path, text)));
  expect(results.filter(Boolean)).toHaveLength(1);
  expect(readFileSync(path, "utf8")).toBe("abc"[results.indexOf(true)]);
  expect(await createFile(path, "d")).toBe(false);
  expect(readdirSync(folder)).toEqual(["file"]);
});

test("never writes through a link in the temporary file's place", async () => {
  const temporary = join(folder, "temporary");
  symlinkSync(join(folder, "elsewhere"), temporary);
  await expect(replaceFile(path, "new", { temporary })).rejects.toThrow("EEXIST");
  expect(readdirSync(folder)).toEqual([]);
});
