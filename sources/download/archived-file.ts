import { createHash } from "node:crypto";
import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { ifMissing } from "../../lib/fs/error-code.ts";
import { openRegularFile, RegularFileError } from "../../lib/fs/regular-file.ts";

/**
 * Finds the file that an archive may have, of any kind. Returns the folder instead where one of
 * `fetch/<stage>/<package>` is a link. The caller rejects that, as the tree's author may have made
 * it.
 */
export async function findArchivedFile(archive: string, file: string): Promise<string | null> {
  for (const folder of [join(archive, "../.."), join(archive, ".."), archive])
    if ((await lstat(folder).catch(ifMissing(null)))?.isSymbolicLink()) return folder;
  const found = await stat(archive).catch(ifMissing(null));
  if (found === null) return null;
  if (!found.isDirectory()) return archive;
  const path = join(archive, file);
  return (await lstat(path).catch(ifMissing(null))) === null ? null : path;
}

/** Returns the file's sha256, 64 hex digits; null if there is no file. */
export async function hashFile(path: string, signal: AbortSignal | undefined): Promise<string | null> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of readChunks(path, Number.MAX_SAFE_INTEGER, signal)) hash.update(chunk);
  } catch (error) {
    if (error instanceof RegularFileError) return null;
    return ifMissing(null)(error);
  }
  return hash.digest("hex");
}

/** Yields the content of a regular file, up to its size when it was opened. */
export async function* readChunks(
  path: string,
  limit: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const { handle, size } = await openRegularFile(path, limit);
  if (size === 0) return await handle.close();
  const options = { highWaterMark: 1024 * 1024, end: size - 1, ...(signal === undefined ? {} : { signal }) };
  yield* handle.createReadStream(options);
}
