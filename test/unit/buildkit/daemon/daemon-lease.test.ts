import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isLeased, releaseLease, takeLease } from "../../../../buildkit/daemon/daemon-lease.ts";
import { formatIdentity, ownIdentity } from "../../../../lib/fs/pid-identity.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stagex-unit-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("is leased until the last lease is released", async () => {
  expect(await isLeased(join(folder, "not-there"))).toBe(false);
  const [first, second] = [await takeLease(folder), await takeLease(folder)];
  await releaseLease(first);
  expect(await isLeased(folder)).toBe(true);
  await releaseLease(second);
  await releaseLease(second);
  expect(await isLeased(folder)).toBe(false);
});

test("ignores a dead process's lease, also where another process has its number", async () => {
  const own = ownIdentity();
  await writeFile(join(folder, `${formatIdentity({ ...own, started: own.started + 1 })}.abc`), "");
  expect(await isLeased(folder)).toBe(false);
  expect(await readdir(folder)).toEqual([]);
});
