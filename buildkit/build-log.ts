import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { boundFolder } from "../lib/bounded-folder.ts";

/** In bytes. A recipe can print for ever, and every image has a log of its own. */
export const longestLog = 256 * 1024 * 1024;

const day = 24 * 60 * 60 * 1000;

/** A release has some 600 logs. One that a build is writing to has changed within the last day. */
const folderBounds = { count: 3000, bytes: 8 * 1024 ** 3, age: 180 * day, spared: day };

/** Folders that this process has bounded. */
const bounded = new Set<string>();

/**
 * Opens a build's log, and bounds the folder it is in.
 * @returns the file, and what appends a line to it as long as there is room
 */
export async function openBuildLog(
  path: string,
  limit: number = longestLog,
): Promise<{ readonly file: WriteStream; readonly write: (line: string) => void }> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  if (!bounded.has(folder)) {
    bounded.add(folder);
    await boundFolder(folder, folderBounds, (name) => name.endsWith(".log"));
  }
  const file = createWriteStream(path);
  await once(file, "open");
  let left = limit;
  const write = (line: string) => {
    if (left <= 0) return;
    left -= Buffer.byteLength(line) + 1;
    file.write(left > 0 ? `${line}\n` : `(more than ${limit} bytes: what follows is left out)\n`);
  };
  return { file, write };
}
