import { type BigIntStats, lstatSync } from "node:fs";
import { errorCode } from "./error-code.ts";

/**
 * Returns the facts of a file, folder or link; undefined where there is none. Synchronous, which
 * takes less time than the thread pool.
 * @throws the system's error where the path can't be looked up
 */
export function statOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (errorCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/**
 * Returns a file's device, inode, size and time, which differ once it is altered or another is in
 * its place; null where there is none.
 */
export function stampOf(path: string): string | null {
  const found = statOf(path);
  return found ? stampFromStats(found) : null;
}

/** Returns the stamp of a file from its facts. */
export function stampFromStats({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}
