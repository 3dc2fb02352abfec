import { createHash, type Hash, randomUUID } from "node:crypto";
import { chmod, type FileHandle, lstat, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncToDisk } from "../../lib/fs/atomic-write.ts";
import { openRegularFile, RegularFileError } from "../../lib/fs/regular-file.ts";

/** Returns whether a file's name is one that {@link PartialFile} gives. */
export function isPartialName(name: string): boolean {
  return /^[0-9a-f]{64}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(name);
}

/**
 * A file on its way into the cache, hashed while it is written. It belongs to one process.
 * Leftovers of another process are copied and never written to, so the hash always matches the
 * bytes.
 */
export class PartialFile {
  readonly path: string;
  #handle: FileHandle;
  #hash: Hash = createHash("sha256");
  #size = 0;
  #pieces = 0;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** Creates a new, empty file for the content with this sha256. */
  static async create(folder: string, sha256: string): Promise<PartialFile> {
    const path = join(folder, `${sha256}-${randomUUID()}`);
    return new PartialFile(path, await open(path, "wx"));
  }

  /**
   * Creates a file that continues the longest one that a broken or killed download of the same
   * content left.
   */
  static async resume(folder: string, sha256: string): Promise<PartialFile> {
    const leftovers: { path: string; size: number }[] = [];
    for (const name of (await readdir(folder)).filter((name) => name.startsWith(`${sha256}-`))) {
      const path = join(folder, name);
      leftovers.push({ path, size: (await lstat(path)).size });
    }
    leftovers.sort((a, b) => b.size - a.size);
    const partial = await PartialFile.create(folder, sha256);
    const [longest] = leftovers;
    try {
      if (longest !== undefined) await partial.#copy(longest.path);
    } catch (error) {
      if (!(error instanceof RegularFileError)) {
        await partial.discard();
        throw error;
      }
    }
    for (const { path } of leftovers) await rm(path, { force: true });
    return partial;
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  /** True if its bytes came in several answers, maybe of different files. */
  get isPieced(): boolean {
    return this.#pieces > 1;
  }

  /** Marks the bytes from here on as those of another answer. */
  startPiece(): void {
    this.#pieces += 1;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.length - done, this.#size + done);
      done += bytesWritten;
    }
    this.#size += chunk.length;
  }

  async #copy(path: string): Promise<void> {
    this.startPiece();
    const { handle, size } = await openRegularFile(path, Number.MAX_SAFE_INTEGER);
    if (size === 0) return await handle.close();
    const pieces = handle.createReadStream({ highWaterMark: 1024 * 1024, end: size - 1 });
    for await (const chunk of pieces) await this.write(chunk);
  }

  /** Discards the bytes, and begins again. */
  async restart(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash("sha256");
    this.#size = 0;
    this.#pieces = 0;
  }

  /** Returns the sha256 of the bytes so far, 64 hex digits. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** Moves the finished file to its name, read-only and synced to disk before that name exists. */
  async moveTo(path: string): Promise<void> {
    await this.#handle.sync();
    await this.#handle.close();
    await chmod(this.path, 0o444);
    await rename(this.path, path);
    await syncToDisk(dirname(path));
  }

  /** Keeps the file for a later {@link resume}, unless it is empty. */
  async keepForResume(): Promise<void> {
    await this.#handle.close();
    if (this.#size === 0) await rm(this.path, { force: true });
  }

  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.path, { force: true });
  }
}
