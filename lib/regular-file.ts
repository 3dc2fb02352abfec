import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { open } from "node:fs/promises";

/** A file that is not read for what it is. The message names the file and the reason, and never what is in it. */
export class RegularFileError extends Error {
  override readonly name = "RegularFileError";
  readonly path: string;
  readonly problem: "not-regular" | "too-large";

  constructor(path: string, problem: RegularFileError["problem"], found: string) {
    super(`${path} ${found}`);
    this.path = path;
    this.problem = problem;
  }
}

/** No link is followed, and no pipe waited for. */
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Reads a file that others may have written: only a regular one, and at most `limit` bytes, even if it grows meanwhile. Links in the
 * folders above it are followed; a caller that walks a folder of others' checks each entry with lstat.
 * @param limit in bytes
 * @throws RegularFileError, or the system's own error (ENOENT, EACCES)
 */
export async function readRegularFile(path: string, limit: number): Promise<Buffer> {
  const handle = await open(path, flags).catch((error: unknown) => {
    throw withoutLink(path, error);
  });
  try {
    const room = roomFor(path, await handle.stat(), limit);
    let filled = 0;
    for (;;) {
      const { bytesRead } = await handle.read(room, filled, room.length - filled);
      filled += bytesRead;
      if (filled > limit) throw tooLarge(path, limit);
      if (bytesRead === 0 || filled === room.length) return room.subarray(0, filled);
    }
  } finally {
    await handle.close();
  }
}

/** {@link readRegularFile} for callers that read many small files one after the other. */
export function readRegularFileSync(path: string, limit: number): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(path, flags);
  } catch (error) {
    throw withoutLink(path, error);
  }
  try {
    const room = roomFor(path, fstatSync(descriptor), limit);
    let filled = 0;
    for (;;) {
      const read = readSync(descriptor, room, filled, room.length - filled, null);
      filled += read;
      if (filled > limit) throw tooLarge(path, limit);
      if (read === 0 || filled === room.length) return room.subarray(0, filled);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** A buffer for the whole file and one byte more, by which a file shows that it grows; what is beyond that is not read. */
function roomFor(path: string, facts: Stats, limit: number): Buffer {
  if (!facts.isFile())
    throw new RegularFileError(path, "not-regular", `is ${kindOf(facts)}, not a regular file`);
  if (facts.size > limit) throw tooLarge(path, limit);
  return Buffer.allocUnsafe(facts.size + 1);
}

function tooLarge(path: string, limit: number): RegularFileError {
  return new RegularFileError(
    path,
    "too-large",
    `has more than the ${limit} bytes that are read of such a file`,
  );
}

/** With O_NOFOLLOW a link is ELOOP; a socket can't be opened at all (ENXIO). */
function withoutLink(path: string, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
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
