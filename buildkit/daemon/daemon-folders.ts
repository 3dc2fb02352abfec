import { createHash } from "node:crypto";
import { lstat, mkdir, realpath } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/** Where the private daemon keeps what. All but the socket is below one state folder. */
export type DaemonFolders = {
  /** The state folder itself, which is also what is locked. */
  readonly root: string;
  /** buildkitd's own root: cache, snapshots. */
  readonly state: string;
  readonly leases: string;
  /** Who the daemon is: its process and its keeper's. */
  readonly record: string;
  readonly log: string;
  readonly config: string;
  /** A short folder of this user alone, for the socket. */
  readonly run: string;
  readonly socket: string;
  /** Distinguishes this daemon's containers from every other's. */
  readonly cgroup: string;
};

/** The longest path that a unix socket can have (unix(7): 108 bytes with the closing zero). */
const longestSocketPath = 107;

/** Makes the state folder, and says where all else belongs. Throws if this user has no folder of his own for sockets. */
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

/** Makes the run folder. Throws if it is not this user's alone. */
export async function makeRunFolder(folders: DaemonFolders): Promise<void> {
  await makePrivate(folders.run);
}

/** The short folder for sockets, of this user alone. */
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

/** In a folder that all users share, anybody may have made this name first: who can write there could put his own socket in it. */
async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  const found = await lstat(folder);
  if (found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0) return;
  throw new Error(
    `${folder} is not a folder of this user alone (mode 0700), so BuildKit's socket can't be put there. Remove it, or set XDG_RUNTIME_DIR to a folder of yours.`,
  );
}
