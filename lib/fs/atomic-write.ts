import { randomUUID } from "node:crypto";
import { link, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ifExists } from "./error-code.ts";
import { stampOf } from "./file-stamp.ts";

/** Options of {@link replaceFile} and {@link createFile}. */
export type AtomicWriteOptions = {
  /** Permissions of the new file, less the umask: 0o666 by default. */
  readonly mode?: number;
  /**
   * True if the content reaches the disk before the file gets its name, so that no power failure
   * leaves it empty: true by default.
   */
  readonly flush?: boolean;
  /**
   * Path of the temporary file, on the same file system: hidden in the file's folder by default.
   */
  readonly temporary?: string;
};

/**
 * Writes a file whole or not at all, and replaces the one that is there. A link in its place is
 * replaced, and never followed.
 * @returns the stamp of the new file
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  options: AtomicWriteOptions = {},
): Promise<string | null> {
  return await withTemporaryFile(path, content, options, async (temporary) => {
    // Taken before another process can replace the file.
    const stamp = stampOf(temporary);
    await rename(temporary, path);
    return stamp;
  });
}

/**
 * Creates a file whole or not at all, and never replaces another: of several processes one creates
 * it.
 * @returns false where the name is taken
 */
export async function createFile(
  path: string,
  content: string | Uint8Array,
  options: AtomicWriteOptions = {},
): Promise<boolean> {
  return await withTemporaryFile(path, content, options, (temporary) =>
    // Unlike rename(), link() fails where the name is taken.
    link(temporary, path).then(() => true, ifExists(false)),
  );
}

async function withTemporaryFile<T>(
  path: string,
  content: string | Uint8Array,
  options: AtomicWriteOptions,
  publish: (temporary: string) => Promise<T>,
): Promise<T> {
  const { mode, flush = true, temporary = join(dirname(path), `.${randomUUID()}.tmp`) } = options;
  try {
    await writeFile(temporary, content, { flag: "wx", flush, ...(mode === undefined ? {} : { mode }) });
    return await publish(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Waits until a file's content, or a folder's list of names, has reached the disk (fsync(2)). */
export async function syncToDisk(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
