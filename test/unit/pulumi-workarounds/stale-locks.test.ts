import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { removeStaleLocks } from "../../../pulumi-workarounds/stale-locks.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

const timestamp = "2026-01-01T00:00:00Z";

/** Writes a lock of stack `dev` into a new file backend. */
async function backendWithLock(content: string): Promise<{ backend: string; lock: string }> {
  const backend = await scratchFolder();
  const folder = join(backend, ".pulumi/locks/organization/stagex/dev");
  await mkdir(folder, { recursive: true });
  const lock = join(folder, "0.json");
  await writeFile(lock, content);
  return { backend, lock };
}

const lockOf = (pid: number, host = hostname()) => JSON.stringify({ pid, hostname: host, timestamp });

/** Starts a process with this name, and returns its id. */
async function processNamed(name: string): Promise<number> {
  const program = join(await scratchFolder(), name);
  await symlink("/bin/sleep", program);
  const child = spawn(program, ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  onTestFinished(() => void child.kill("SIGKILL"));
  return child.pid ?? 0;
}

test("removes the lock of a process that has ended", async () => {
  const child = spawn("/bin/true");
  await once(child, "exit");
  const { backend, lock } = await backendWithLock(lockOf(child.pid ?? 0));
  expect(await removeStaleLocks(backend, "dev")).toBeUndefined();
  expect(existsSync(lock)).toBe(false);
});

test.runIf(process.platform === "linux")("removes the lock of a process that is no engine", async () => {
  const { backend, lock } = await backendWithLock(lockOf(await processNamed("other")));
  expect(await removeStaleLocks(backend, "dev")).toBeUndefined();
  expect(existsSync(lock)).toBe(false);
});

test("keeps the lock of a running engine, and returns it for its own stack", async () => {
  const pid = await processNamed("pulumi");
  const { backend, lock } = await backendWithLock(lockOf(pid));
  expect(await removeStaleLocks(backend, "dev")).toEqual({ pid, hostname: hostname(), timestamp });
  expect(await removeStaleLocks(backend, "release")).toBeUndefined();
  expect(existsSync(lock)).toBe(true);
});

test.each([
  ["on another machine", lockOf(1, "elsewhere.example")],
  ["without an owner", ""],
])("keeps a lock %s", async (_, content) => {
  const { backend, lock } = await backendWithLock(content);
  expect(await removeStaleLocks(backend, "dev")).toBeUndefined();
  expect(existsSync(lock)).toBe(true);
});

test("returns no lock for a backend that is not there yet", async () => {
  expect(await removeStaleLocks(join(await scratchFolder(), "none"), "dev")).toBeUndefined();
});
