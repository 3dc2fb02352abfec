import { createHash } from "node:crypto";
import { lstat, mkdir, realpath } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/** The folders and files of the private daemon. All but the socket is below one state folder. */
export type DaemonFolders = {
  /** The state folder itself, which is locked too. */
  readonly root: string;
  /** buildkitd's root: cache, snapshots. */
  readonly state: string;
  readonly leases: string;
  /** The record of the daemon's process and its reaper's. */
  readonly record: string;
  readonly log: string;
  readonly config: string;
  /** A folder with a short path for the socket, private to this user. */
  readonly run: string;
  readonly socket: string;
  /** The control group of this daemon's containers, different from every other daemon's. */
  readonly cgroup: string;
};

/** The longest path of a unix socket (unix(7): 108 bytes with the closing zero). */
const longestSocketPath = 107;

/**
 * Makes the state folder, and returns the paths of all else.
 * @throws where this user has no private folder for sockets
 */
export async function prepareDaemonFolders(root: string): Promise<DaemonFolders> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const real = await realpath(root);
  const name = createHash("sha256").update(real).digest("hex").slice(0, 12);
  const run = join(await ensureUserRunFolder(), name);
  const socket = join(run, "buildkitd.sock");
  if (Buffer.byteLength(socket) > longestSocketPath) {
    throw new Error(
      `the path of BuildKit's socket is too long (${Buffer.byteLength(socket)} bytes, at most ${longestSocketPath}): ${socket}. Set XDG_RUNTIME_DIR or TMPDIR to a shorter folder.`,
    );
  }
  return {
    ...{ root: real, run, socket, cgroup: `stagex-${name}` },
    ...{ state: join(real, "state"), leases: join(real, "leases"), record: join(real, "daemon.json") },
    ...{ log: join(real, "buildkitd.log"), config: join(real, "buildkitd.toml") },
  };
}

/**
 * Makes the run folder.
 * @throws where it is not private to this user
 */
export async function makeRunFolder(folders: DaemonFolders): Promise<void> {
  await makePrivate(folders.run);
}

/** Returns the folder for sockets, private to this user; makes it where there is none. */
export async function ensureUserRunFolder(): Promise<string> {
  const user = process.env.XDG_RUNTIME_DIR;
  if (user !== undefined && user !== "" && (await isOwnFolder(user))) return user;
  const folder = join(tmpdir(), `stagex-${userInfo().uid}`);
  await makePrivate(folder);
  return folder;
}

async function isOwnFolder(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  return found?.isDirectory() === true && found.uid === userInfo().uid;
}

/**
 * Makes a private folder. In a shared folder another user may have made that name first, to put a
 * socket of their own there.
 */
async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  const found = await lstat(folder);
  if (found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0) return;
  throw new Error(
    `${folder} is not a private folder of this user (mode 0700), so it is unsafe for BuildKit's socket. Remove it, or set XDG_RUNTIME_DIR to a folder of yours.`,
  );
}
