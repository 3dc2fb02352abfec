import { chmod, mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { makeRunFolder, prepareDaemonFolders } from "../../../../buildkit/daemon/daemon-folders.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stagex-unit-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

test("gives a state folder the same socket by any path, and another folder another one", async () => {
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
  const first = await prepareDaemonFolders(join(folder, "one"));
  await symlink(join(folder, "one"), join(folder, "alias"));
  expect((await prepareDaemonFolders(join(folder, "alias"))).socket).toBe(first.socket);
  const second = await prepareDaemonFolders(join(folder, "two"));
  expect(second.socket).not.toBe(first.socket);
  expect(second.cgroup).not.toBe(first.cgroup);
});

test("makes a private run folder in XDG_RUNTIME_DIR, else below the folder for temporary files", async () => {
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
  expect((await prepareDaemonFolders(join(folder, "state"))).run.startsWith(`${folder}/`)).toBe(true);
  vi.stubEnv("XDG_RUNTIME_DIR", "");
  vi.stubEnv("TMPDIR", folder);
  const folders = await prepareDaemonFolders(join(folder, "state"));
  expect(folders.run.startsWith(`${folder}/`)).toBe(true);
  await makeRunFolder(folders);
  expect((await stat(folders.run)).mode & 0o777).toBe(0o700);
});

test("rejects a run folder that others can enter", async () => {
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
  const folders = await prepareDaemonFolders(join(folder, "state"));
  await mkdir(folders.run);
  await chmod(folders.run, 0o755);
  await expect(makeRunFolder(folders)).rejects.toThrow(/is not a private folder of this user/);
});

test("rejects a run folder that is a link", async () => {
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
  const folders = await prepareDaemonFolders(join(folder, "state"));
  await mkdir(join(folder, "elsewhere"), { mode: 0o700 });
  await symlink(join(folder, "elsewhere"), folders.run);
  await expect(makeRunFolder(folders)).rejects.toThrow(/is not a private folder of this user/);
});

test("rejects a socket path that is too long, with a hint", async () => {
  const deep = join(folder, "d".repeat(100));
  await mkdir(deep);
  vi.stubEnv("XDG_RUNTIME_DIR", deep);
  await expect(prepareDaemonFolders(join(folder, "state"))).rejects.toThrow(
    /too long.*at most 107.*Set XDG_RUNTIME_DIR/,
  );
});
