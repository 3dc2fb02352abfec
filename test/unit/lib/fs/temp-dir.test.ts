import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { formatIdentity, ownIdentity } from "../../../../lib/fs/pid-identity.ts";
import { withTempDir } from "../../../../lib/fs/temp-dir.ts";

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "stagex-unit-"));
});

afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

test("gives the work a folder for this user only, and removes it afterwards", async () => {
  const result = await withTempDir(join(scratch, "new"), async (folder) => {
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await writeFile(join(folder, "file"), "");
    return "result";
  });
  expect(result).toBe("result");
  expect(await readdir(join(scratch, "new"))).toEqual([]);
});

test("removes the folder after an error", async () => {
  const failing = withTempDir(scratch, async (folder) => {
    await mkdir(join(folder, "some", "thing"), { recursive: true });
    throw new Error("failed");
  });
  await expect(failing).rejects.toThrow("failed");
  expect(await readdir(scratch)).toEqual([]);
});

test("removes the folders of ended processes only", async () => {
  const own = ownIdentity();
  const living = `${formatIdentity(own)}.abc`;
  const dead = `${formatIdentity({ ...own, started: own.started + 1 })}.abc`;
  for (const name of [living, dead, "other"]) await mkdir(join(scratch, name, "inside"), { recursive: true });
  await withTempDir(scratch, async () => {});
  expect((await readdir(scratch)).toSorted()).toEqual([living, "other"].toSorted());
});
