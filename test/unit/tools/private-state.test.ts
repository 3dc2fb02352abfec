import { chmod, mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pathsOf } from "../../../lib/paths.ts";
import { keepStatePrivate } from "../../../tools/private-state.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stagex-places-"));
  await mkdir(join(folder, "project"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const paths = (state?: string) =>
  pathsOf(join(folder, "project"), {
    STAGEX_CACHE: join(folder, "cache"),
    ...(state === undefined ? {} : { STAGEX_STATE: state }),
  });
const modeOf = async (path: string): Promise<string> =>
  ((await stat(join(folder, path))).mode & 0o777).toString(8);

test("makes the state and cache of a new checkout private to this user", async () => {
  keepStatePrivate(paths());
  expect([await modeOf("project/.stagex"), await modeOf("cache")]).toEqual(["700", "700"]);
  expect((await stat(paths().backend)).isDirectory()).toBe(true);
});

test("makes existing state private, also elsewhere, and leaves a shared cache open", async () => {
  for (const path of ["project/.stagex/pulumi", "witness", "cache"])
    await mkdir(join(folder, path), { recursive: true });
  for (const path of ["project/.stagex", "witness", "cache"]) await chmod(join(folder, path), 0o755);
  keepStatePrivate(paths("../witness"));
  expect([await modeOf("project/.stagex"), await modeOf("witness"), await modeOf("cache")]).toEqual([
    "700",
    "700",
    "755",
  ]);
});

test.for([".", "..", "/", "/tmp", "/var/tmp", "/dev/shm", homedir()])(
  "rejects STAGEX_STATE=%s, which contains more than state",
  async (state) => {
    const before = (await stat(resolve(folder, "project", state))).mode;
    expect(() => keepStatePrivate(paths(state))).toThrow(/STAGEX_STATE is .*: other users would lose access/);
    expect((await stat(resolve(folder, "project", state))).mode).toBe(before);
  },
);
