import { mkdirSync, realpathSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, relative, sep } from "node:path";
import { makePrivateFolder } from "../lib/fs/private-folder.ts";
import type { Paths } from "../lib/paths.ts";

/**
 * Makes the folders of this checkout's state, private to its user: the engine's state has keys and
 * certificates of fleets, and a store or ledger that others can write to is no evidence. A new
 * cache is private too; an existing one may be shared by several users.
 *
 * @throws where $STAGEX_STATE is a folder that contains more than state, such as the home folder or
 * /tmp
 */
export function keepStatePrivate({
  backend,
  cache,
  project,
  state,
}: Pick<Paths, "backend" | "cache" | "project" | "state">): void {
  makePrivateFolder(dirname(backend));
  mkdirSync(backend, { recursive: true });
  if (state !== dirname(backend)) {
    const held = [project, homedir(), tmpdir(), ...shared].find((path) => isWithin(path, state));
    if (held !== undefined) {
      throw new Error(
        `STAGEX_STATE is ${state}, which contains ${held}: other users would lose access to it. Set it to a folder of its own.`,
      );
    }
    makePrivateFolder(state);
  }
  try {
    mkdirSync(cache, { recursive: true, mode: 0o700 });
  } catch {
    // The first use of the cache reports why it can't be made.
  }
}

/** Folders of all users (FHS 3.0: 3.18, 5.15; Linux: shm_overview(7)). */
const shared = ["/tmp", "/var/tmp", "/dev/shm"];

/** Whether a path is a folder, or below it; symbolic links are resolved where they exist. */
function isWithin(path: string, folder: string): boolean {
  const way = relative(real(folder), real(path));
  return way !== ".." && !way.startsWith(`..${sep}`);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
