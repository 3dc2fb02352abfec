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

/** With fewer bytes left, a disk counts as full: BuildKit's database alone grows in steps of as much. */
const leastRoom = 64 * 1024 * 1024;

/** A running private daemon, and this caller's use of it. */
export type DaemonUse = {
  /** `unix://…`, as an endpoint wants it. */
  readonly address: string;
  /** Ends this use; the last one ends the daemon. Twice does no harm. */
  release(): Promise<void>;
};

export type DaemonRequest = DaemonPrograms & {
  /** The state folder, of this daemon alone. Two uses with one root share one daemon. */
  readonly root: string;
  /** Told in a few words what is done, such as that a daemon is started. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
};

/**
 * Gives the use of the private buildkitd whose state is in `root`: the running one, whoever started it, or a new one. It runs until
 * the last user released it; a user that died does not count, and a small keeper process sees to it when all did.
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

/** Ends the daemon if no living process uses it. Returns whether one still runs. */
export async function endUnusedDaemon(folders: DaemonFolders): Promise<boolean> {
  try {
    return await whileLocked(folders, async () => {
      const record = await readRecord(folders);
      if (record === undefined) return await endUnrecorded(folders);
      const isRunning = isAlive(record.daemon);
      if (isRunning && (await isLeased(folders.leases))) return true;
      await (isRunning ? stopDaemon(record.daemon, folders) : sweepLeftovers(folders));
      await giveUpCacheIfFull(folders);
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

/** Who removes the state folder, or the checkout that it is in, takes the record too; the daemon is still known by its command line. */
async function endUnrecorded(folders: DaemonFolders): Promise<false> {
  await sweepLeftovers(folders);
  await giveUpCacheIfFull(folders);
  return false;
}

/**
 * A daemon that ran out of disk keeps records of snapshots that it could not make, on which every later build fails ("lstat …/snapshots/9: no
 * such file"). What it holds is a cache alone, and its room is needed: so the next one starts afresh.
 */
async function giveUpCacheIfFull(folders: DaemonFolders): Promise<void> {
  const disk = await statfs(folders.state).catch(() => undefined);
  if (disk === undefined || disk.bavail * disk.bsize >= leastRoom) return;
  await rm(folders.state, { recursive: true, force: true, maxRetries: 5 });
}

/** The record of a daemon that answers. Its socket is where its starter put it, which may be elsewhere than this process would. */
async function ensureDaemon(
  request: DaemonRequest,
  folders: DaemonFolders,
  log: (line: string) => void,
): Promise<DaemonRecord> {
  const record = await readRecord(folders);
  if (record !== undefined && isAlive(record.daemon)) {
    if (await isAnswering(record.socket, request.signal)) return await ensureKeeper(record, folders);
    request.signal?.throwIfAborted();
    log("The running BuildKit does not answer: ending it");
    await stopDaemon(record.daemon, folders);
  }
  log("Starting BuildKit");
  const daemon = await startDaemon(request, folders, request.signal);
  return await ensureKeeper({ daemon, keeper: null, socket: folders.socket }, folders);
}

async function ensureKeeper(record: DaemonRecord, folders: DaemonFolders): Promise<DaemonRecord> {
  if (record.keeper !== null && isAlive(record.keeper)) return record;
  const kept = { ...record, keeper: startKeeper(folders) };
  await writeFile(folders.record, JSON.stringify(kept));
  return kept;
}

function startKeeper(folders: DaemonFolders): ProcessIdentity | null {
  const program = fileURLToPath(new URL("daemon-reaper.ts", import.meta.url));
  const keeper = spawn(process.execPath, [program, folders.root], {
    detached: true,
    stdio: "ignore",
    env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR, TMPDIR: process.env.TMPDIR },
  });
  keeper.on("error", () => {});
  keeper.unref();
  return (keeper.pid !== undefined && identityOf(keeper.pid)) || null;
}

async function readRecord(folders: DaemonFolders): Promise<DaemonRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(folders.record, "utf8")));
  } catch {
    return undefined;
  }
}

/** One process at a time decides whether a daemon is to start or to end. A killed holder's lock counts for nothing after 10 seconds. */
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
