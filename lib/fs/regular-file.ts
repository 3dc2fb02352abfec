import { createHash, type Hash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { errorCode } from "./error-code.ts";

/**
 * A file that is not read, since it is no regular file or too large. The message never quotes its
 * content.
 */
export class RegularFileError extends Error {
  override readonly name = "RegularFileError";
  readonly path: string;
  readonly problem: "not-regular" | "too-large";
  /** The message without the path: `is a symbolic link, not a regular file`. */
  readonly found: string;

  constructor(path: string, problem: RegularFileError["problem"], found: string) {
    super(`${path} ${found}`);
    this.path = path;
    this.problem = problem;
    this.found = found;
  }
}

/** Follows no link, and waits for no pipe. */
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Reads a file that others may have written: only a regular one, and at most `limit` bytes, even if
 * it grows meanwhile. Links in the folders above it are followed; a caller that walks a folder of
 * others' checks each entry with lstat.
 * @param limit in bytes
 * @throws RegularFileError, or the system's own error (ENOENT, EACCES)
 */
export async function readRegularFile(path: string, limit: number): Promise<Buffer> {
  const { handle, size } = await openRegularFile(path, limit);
  try {
    const room = Buffer.allocUnsafe(size + 1);
    let filled = 0;
    for (;;) {
      const { bytesRead } = await handle.read(room, filled, room.length - filled);
      filled += bytesRead;
      if (filled > limit) throw tooLargeError(path, limit);
      if (isWhole(bytesRead, filled, room)) return room.subarray(0, filled);
    }
  } finally {
    await handle.close();
  }
}

/**
 * Opens a file that others may have written, to be read piece by piece. It may grow after that: a
 * reader stops at `size`, or at the limit. The caller closes the handle.
 * @param limit in bytes
 * @throws RegularFileError, or the system's own error (ENOENT, EACCES)
 */
export async function openRegularFile(
  path: string,
  limit: number,
): Promise<{ readonly handle: FileHandle; readonly size: number }> {
  const handle = await open(path, flags).catch((error: unknown) => {
    throw withoutLink(path, error);
  });
  try {
    return { handle, size: regularSize(path, await handle.stat(), limit) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Does what {@link readRegularFile} does, for callers that read many small files one after the
 * other.
 */
export function readRegularFileSync(path: string, limit: number): Buffer {
  return withRegularFileSync(path, limit, (descriptor, size) => {
    const room = Buffer.allocUnsafe(size + 1);
    let filled = 0;
    for (;;) {
      const read = readSync(descriptor, room, filled, room.length - filled, null);
      filled += read;
      if (filled > limit) throw tooLargeError(path, limit);
      if (isWhole(read, filled, room)) return room.subarray(0, filled);
    }
  });
}

/**
 * Returns whether a file is read to its end: no byte came, or there was room for one more, or the
 * file has grown.
 */
function isWhole(read: number, filled: number, room: Buffer): boolean {
  return read === 0 || filled >= room.length - 1;
}

/** The part of a file that is in memory at once while it is hashed, in bytes. */
const pieceSize = 1 << 20;

/**
 * Hashes a file that others may have written, of any size up to the limit, piece by piece.
 * @param limit in bytes
 * @returns its sha256, 64 hex digits
 * @throws RegularFileError, or the system's own error (ENOENT, EACCES)
 */
export function sha256OfRegularFileSync(path: string, limit: number): string {
  return hashRegularFileSync(path, limit, () => createHash("sha256")).digest("hex");
}

/**
 * Does what {@link sha256OfRegularFileSync} does, for other hashes.
 * @param begin creates the hash; gets the file's size in bytes
 */
export function hashRegularFileSync(path: string, limit: number, begin: (size: number) => Hash): Hash {
  return withRegularFileSync(path, limit, (descriptor, size) => {
    const hash = begin(size);
    const piece = Buffer.allocUnsafe(Math.min(pieceSize, size + 1));
    for (let total = 0; ; ) {
      const read = readSync(descriptor, piece, 0, piece.length, null);
      total += read;
      if (total > limit) throw tooLargeError(path, limit);
      if (read === 0) return hash;
      hash.update(piece.subarray(0, read));
    }
  });
}

/**
 * Opens a file that others may have written for as long as `work` takes.
 * @param limit in bytes
 * @throws RegularFileError, or the system's own error (ENOENT, EACCES); what `work` throws
 */
export function withRegularFileSync<T>(
  path: string,
  limit: number,
  work: (descriptor: number, size: number) => T,
): T {
  let descriptor: number;
  try {
    descriptor = openSync(path, flags);
  } catch (error) {
    throw withoutLink(path, error);
  }
  try {
    return work(descriptor, regularSize(path, fstatSync(descriptor), limit));
  } finally {
    closeSync(descriptor);
  }
}

function regularSize(path: string, facts: Stats, limit: number): number {
  if (!facts.isFile())
    throw new RegularFileError(path, "not-regular", `is ${kindOf(facts)}, not a regular file`);
  if (facts.size > limit) throw tooLargeError(path, limit);
  return facts.size;
}

/** Returns the error for a file with more than `limit` bytes. */
export function tooLargeError(path: string, limit: number): RegularFileError {
  return new RegularFileError(
    path,
    "too-large",
    `has more than the ${limit} bytes that are read of such a file`,
  );
}

/**
 * Names links and sockets: with O_NOFOLLOW a link fails with ELOOP, and a socket always with ENXIO.
 */
function withoutLink(path: string, error: unknown): unknown {
  const code = errorCode(error);
  if (code === "ELOOP")
    return new RegularFileError(path, "not-regular", "is a symbolic link, not a regular file");
  if (code === "ENXIO")
    return new RegularFileError(path, "not-regular", "is a socket or a pipe, not a regular file");
  return error;
}

function kindOf(facts: Stats): string {
  if (facts.isDirectory()) return "a folder";
  if (facts.isFIFO()) return "a pipe";
  if (facts.isSocket()) return "a socket";
  return "a device";
}
