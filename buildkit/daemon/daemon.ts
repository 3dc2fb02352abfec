import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lock } from "proper-lockfile";
import { z } from "zod";
import { identityOf, isAlive, type ProcessIdentity } from "../../lib/fs/pid-identity.ts";
import { type DaemonFolders, prepareDaemonFolders } from "./daemon-folders.ts";
import { isLeased, releaseLease, takeLease } from "./daemon-lease.ts";
import {
  type DaemonPrograms,
  isAnswering,
  startDaemon,
  stopDaemon,
  sweepLeftovers,
} from "./daemon-process.ts";

const identitySchema = z.object({ pid: z.number().int().positive(), started: z.number().int() });
const recordSchema = z.object({
  daemon: identitySchema,
  keeper: identitySchema.nullable(),
  socket: z.string(),
});
type DaemonRecord = z.infer<typeof recordSchema>;

/** A disk with fewer free bytes counts as full: BuildKit's database grows by as much at once. */
const leastFreeBytes = 64 * 1024 * 1024;

/** A caller's use of a running private daemon. */
export type DaemonUse = {
  /** The `unix://…` address for an endpoint. */
  readonly address: string;
  /** Ends this use; the last one stops the daemon. A second call has no effect. */
  release(): Promise<void>;
};

export type DaemonRequest = DaemonPrograms & {
  /** The state folder of the daemon. Uses with the same root share one daemon. */
  readonly root: string;
  /** Called with each step, such as the start of a daemon. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
};

/**
 * Acquires the private buildkitd whose state is in `root`: the running one, or a new one. It runs
 * until its last user has released it or died; a small reaper process stops it when all have died.
 */
export async function acquireDaemon(request: DaemonRequest): Promise<DaemonUse> {
  const { signal, log = () => {} } = request;
  signal?.throwIfAborted();
  const folders = await prepareDaemonFolders(request.root);
  return await whileLocked(folders, async () => {
    signal?.throwIfAborted();
    const lease = await takeLease(folders.leases);
    try {
      const { socket } = await ensureDaemon(request, folders, log);
      const release = async () => {
        await releaseLease(lease);
        await endUnusedDaemon(folders);
      };
      return { address: `unix://${socket}`, release };
    } catch (error) {
      await releaseLease(lease);
      throw error;
    }
  });
}

/** Stops the daemon if no living process uses it. Returns whether it still runs. */
export async function endUnusedDaemon(folders: DaemonFolders): Promise<boolean> {
  try {
    return await whileLocked(folders, async () => {
      const record = await readRecord(folders);
      if (record === undefined) return await endUnrecorded(folders);
      const isRunning = isAlive(record.daemon);
      if (isRunning && (await isLeased(folders.leases))) return true;
      await (isRunning ? stopDaemon(record.daemon, folders) : sweepLeftovers(folders));
      await removeCacheIfFull(folders);
      if (!isRunning) return false;
      await rm(folders.record, { force: true });
      if (record.socket === folders.socket) await rm(folders.run, { recursive: true, force: true });
      return false;
    });
  } catch (error) {
    if (existsSync(folders.root)) throw error;
    return await endUnrecorded(folders);
  }
}

/**
 * Stops a daemon without a record, by its command line: the state folder or its checkout may have
 * been removed.
 */
async function endUnrecorded(folders: DaemonFolders): Promise<false> {
  await sweepLeftovers(folders);
  await removeCacheIfFull(folders);
  return false;
}

/**
 * Removes the daemon's cache where the disk is full. A daemon that ran out of disk keeps records of
 * snapshots that it could not make, and every later build fails on them ("lstat …/snapshots/9: no
 * such file").
 */
async function removeCacheIfFull(folders: DaemonFolders): Promise<void> {
  const disk = await statfs(folders.state).catch(() => undefined);
  if (disk === undefined || disk.bavail * disk.bsize >= leastFreeBytes) return;
  await rm(folders.state, { recursive: true, force: true, maxRetries: 5 });
}

/**
 * Returns the record of a daemon that answers. Its socket may be elsewhere than this process would
 * put it.
 */
async function ensureDaemon(
  request: DaemonRequest,
  folders: DaemonFolders,
  log: (line: string) => void,
): Promise<DaemonRecord> {
  const record = await readRecord(folders);
  if (record !== undefined && isAlive(record.daemon)) {
    if (await isAnswering(record.socket, request.signal)) return await ensureReaper(record, folders);
    request.signal?.throwIfAborted();
    log("The running BuildKit does not answer: stopping it");
    await stopDaemon(record.daemon, folders);
  }
  log("Starting BuildKit");
  const daemon = await startDaemon(request, folders, request.signal);
  return await ensureReaper({ daemon, keeper: null, socket: folders.socket }, folders);
}

async function ensureReaper(record: DaemonRecord, folders: DaemonFolders): Promise<DaemonRecord> {
  if (record.keeper !== null && isAlive(record.keeper)) return record;
  const updated = { ...record, keeper: startReaper(folders) };
  await writeFile(folders.record, JSON.stringify(updated));
  return updated;
}

function startReaper(folders: DaemonFolders): ProcessIdentity | null {
  const program = fileURLToPath(new URL("daemon-reaper.ts", import.meta.url));
  const reaper = spawn(process.execPath, [program, folders.root], {
    detached: true,
    stdio: "ignore",
    env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR, TMPDIR: process.env.TMPDIR },
  });
  reaper.on("error", () => {});
  reaper.unref();
  return (reaper.pid !== undefined && identityOf(reaper.pid)) || null;
}

async function readRecord(folders: DaemonFolders): Promise<DaemonRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(folders.record, "utf8")));
  } catch {
    return undefined;
  }
}

/**
 * Locks the state folder: one process at a time starts or stops a daemon. A killed holder's lock
 * expires after 10 seconds.
 */
async function whileLocked<T>(folders: DaemonFolders, work: () => Promise<T>): Promise<T> {
  const unlock = await lock(folders.root, {
    lockfilePath: join(folders.root, "lock"),
    stale: 10_000,
    retries: { retries: 600, minTimeout: 50, maxTimeout: 250, factor: 1.2 },
    onCompromised: () => {},
  });
  try {
    return await work();
  } finally {
    await unlock().catch(() => undefined);
  }
}
