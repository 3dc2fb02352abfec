import { closeSync, openSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { pruneFolder } from "../../lib/fs/prune-folder.ts";
import type { Printable } from "../../lib/text/printable.ts";

/** In bytes. A recipe can print for ever, and every image has a log of its own. */
export const longestLog = 256 * 1024 * 1024;

const day = 24 * 60 * 60 * 1000;

/** A release has some 600 logs. One that a build is writing to has changed within the last day. */
const folderBounds = { count: 3000, bytes: 8 * 1024 ** 3, maxAge: 180 * day, minAge: day };

/** Folders that this process has bounded. */
const bounded = new Set<string>();

/** A build's log, written to as long as there is room. */
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

  /** Opens a log anew, and bounds the folder it is in. */
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
    this.#pending +=
      this.#left > 0 ? `${line}\n` : `(more than ${this.#limit} bytes: what follows is left out)\n`;
  }

  /**
   * Writes what has come, at once: the lines that came together are less than a way through the thread pool.
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
