import { readdir, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { identityOf } from "../lib/fs/pid-identity.ts";

const lockFile = z.object({ pid: z.number(), hostname: z.string(), timestamp: z.string() });

/** The engine that has a stack locked, and since when (RFC 3339). */
export type LockHolder = z.infer<typeof lockFile>;

/**
 * Removes the locks that killed engines left in a file backend. A lock stays if its process lives,
 * or is on another machine.
 *
 * The backend's locks are files without a lease, so that a killed engine locks its stack until
 * someone runs `pulumi cancel`.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/9253 proposes locks that expire;
 * https://github.com/pulumi/pulumi/issues/8973 is a report of stale ones.
 *
 * Remove when the file backend drops locks of processes that have ended.
 *
 * @param backend the folder of the file backend
 * @returns the engine on this machine that is at work on the stack, if there is one
 */
export async function removeStaleLocks(backend: string, stack: string): Promise<LockHolder | undefined> {
  const folder = join(backend, ".pulumi", "locks");
  const files = await readdir(folder, { recursive: true }).catch(() => []);
  let holder: LockHolder | undefined;
  for (const file of files.filter((name) => name.endsWith(".json"))) {
    const path = join(folder, file);
    const lock = lockFile.safeParse(jsonOrNull(await readFile(path, "utf8").catch(() => "")));
    if (!lock.success || lock.data.hostname !== hostname()) continue;
    if (!(await isEngine(lock.data.pid))) await rm(path, { force: true });
    else if (basename(dirname(path)) === stack) holder = lock.data;
  }
  return holder;
}

/**
 * Returns null for half a lock or an empty one, as an engine leaves it that was killed while it
 * wrote: its owner is unknown.
 */
function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Checks that an engine runs under this number, rather than nothing, a zombie, or a later process
 * with the same number.
 */
async function isEngine(pid: number): Promise<boolean> {
  if (identityOf(pid) === undefined) return false;
  const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => undefined);
  return name === undefined || name.trim() === "pulumi";
}
