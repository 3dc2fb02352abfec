import { chmodSync, mkdirSync, type Stats, statSync } from "node:fs";

/** Permissions of a folder that its owner alone enters. */
const ownerAlone = 0o700;

/**
 * Makes a folder, with those above it, that nobody but its owner enters, whatever the umask; one that is there is closed to all others.
 * What lies in it is then out of their reach, whatever its own mode: programs that write there need not know of it.
 *
 * @throws where the folder is another user's, or one that all share, such as /tmp
 */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: ownerAlone });
  const found = statSync(path);
  const user = process.getuid?.() ?? found.uid;
  // Root may read everything anyway, and works in other users' checkouts.
  if (user !== 0 && found.uid !== user) {
    throw new Error(
      `${path} belongs to another user (${found.uid}), who could read the keys that are kept in it and change the rest. Use a folder of your own.`,
    );
  }
  if (isClosed(found)) return;
  if (isShared(found)) {
    throw new Error(
      `${path} is a folder that all users share, and can't be closed to them: use a folder of its own in there.`,
    );
  }
  chmodSync(path, ownerAlone);
}

function isClosed({ mode }: Stats): boolean {
  return (mode & 0o777) === ownerAlone;
}

/** The sticky bit is for folders in which everybody may make files (inode(7)). */
function isShared({ mode }: Stats): boolean {
  return (mode & 0o1000) !== 0;
}
