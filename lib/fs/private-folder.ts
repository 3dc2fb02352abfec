import { chmodSync, mkdirSync, statSync } from "node:fs";

/** Permissions of a folder that its owner alone enters. */
const ownerAlone = 0o700;

/**
 * Makes a folder, with those above it, that nobody but its owner enters, whatever the umask; one that is there is closed to all others.
 * What lies in it is then out of their reach, whatever its own mode: programs that write there need not know of it.
 *
 * @throws where the folder is another user's
 */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: ownerAlone });
  const found = statSync(path);
  const user = process.geteuid?.() ?? found.uid;
  // Root may read everything anyway, and works in other users' checkouts.
  if (user !== 0 && found.uid !== user) {
    throw new Error(
      `${path} belongs to another user (${found.uid}), who could read the keys that are kept in it and change the rest. Use a folder of your own.`,
    );
  }
  if ((found.mode & 0o7777) !== ownerAlone) chmodSync(path, ownerAlone);
}
