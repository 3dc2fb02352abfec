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

test("the folder is there for the work, for this user alone, and gone after it", async () => {
  const result = await withTempDir(join(scratch, "new"), async (folder) => {
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await writeFile(join(folder, "file"), "");
    return "result";
  });
  expect(result).toBe("result");
  expect(await readdir(join(scratch, "new"))).toEqual([]);
});

test("it is gone after an error too", async () => {
  const failing = withTempDir(scratch, async (folder) => {
    await mkdir(join(folder, "some", "thing"), { recursive: true });
    throw new Error("failed");
  });
  await expect(failing).rejects.toThrow("failed");
  expect(await readdir(scratch)).toEqual([]);
});

test("what an ended process left is swept; what a living one uses, or is no work folder, is not", async () => {
  const own = ownIdentity();
  const living = `${formatIdentity(own)}.abc`;
  const dead = `${formatIdentity({ ...own, started: own.started + 1 })}.abc`;
  for (const name of [living, dead, "other"]) await mkdir(join(scratch, name, "inside"), { recursive: true });
  await withTempDir(scratch, async () => {});
  expect((await readdir(scratch)).toSorted()).toEqual([living, "other"].toSorted());
});
