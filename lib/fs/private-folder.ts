import { chmodSync, mkdirSync, statSync } from "node:fs";

/** Permissions of a folder that only its owner can enter. */
const ownerOnly = 0o700;

/**
 * Creates a folder, with those above it, that only its owner can enter, whatever the umask. An
 * existing one is closed to others. Files in it are then private whatever their own mode, so
 * programs that write there need no settings.
 *
 * @throws Error where the folder is another user's
 */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: ownerOnly });
  const found = statSync(path);
  const user = process.geteuid?.() ?? found.uid;
  // Root can read everything anyway, and works in other users' checkouts.
  if (user !== 0 && found.uid !== user) {
    throw new Error(
      `${path} belongs to another user (${found.uid}), who could read the keys that are kept in it and change the rest. Use a folder of your own.`,
    );
  }
  if ((found.mode & 0o7777) !== ownerOnly) chmodSync(path, ownerOnly);
}
