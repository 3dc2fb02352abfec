import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { pruneFolder } from "../../lib/fs/prune-folder.ts";
import type { Printable } from "../../lib/text/printable.ts";

/** In bytes. A recipe can print for ever, and each image has a log. */
export const longestLog = 256 * 1024 * 1024;

const day = 24 * 60 * 60 * 1000;

/** A release has some 600 logs. A log that is being written has changed within the last day. */
const folderBounds = { count: 3000, bytes: 8 * 1024 ** 3, maxAge: 180 * day, minAge: day };

/** Folders that this process has pruned. */
const bounded = new Set<string>();

/** A build's log, up to a limit. */
export class BuildLog {
  readonly #file: number;
  readonly #limit: number;
  #left: number;
  #pending = "";

  private constructor(file: number, limit: number) {
    this.#file = file;
    this.#limit = limit;
    this.#left = limit;
  }

  /** Opens an empty log, and prunes its folder. */
  static async open(path: string, limit: number = longestLog): Promise<BuildLog> {
    const folder = dirname(path);
    if (!bounded.has(folder)) {
      await mkdir(folder, { recursive: true });
      await pruneFolder(folder, folderBounds, (name) => name.endsWith(".log"));
      bounded.add(folder);
    }
    return new BuildLog(openSync(path, "w"), limit);
  }

  /** Appends a line. It is in the file after the next {@link flush}. */
  line(line: Printable): void {
    if (this.#left <= 0) return;
    this.#left -= Buffer.byteLength(line) + 1;
    this.#pending += this.#left > 0 ? `${line}\n` : `(more than ${this.#limit} bytes: the rest is omitted)\n`;
  }

  /**
   * Writes the appended lines, synchronously: for a few lines the thread pool would take longer.
   * @throws the system's error, such as a full disk
   */
  flush(): void {
    const bytes = Buffer.from(this.#pending);
    this.#pending = "";
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
  }

  close(): void {
    closeSync(this.#file);
  }
}
