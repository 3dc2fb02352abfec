import { type BigIntStats, lstatSync } from "node:fs";

/**
 * Of what is there, whatever it is; undefined where nothing is. Looked up at once, which takes less than to ask the thread pool to.
 * @throws the system's error where that can't be told.
 */
export function statOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** What tells a file from another one in its place, or from itself altered: device, inode, size and time; null where nothing is. */
export function stampOf(path: string): string | null {
  const found = statOf(path);
  return found ? stampFromStats(found) : null;
}

/** The stamp of what has been looked up. */
export function stampFromStats({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}
