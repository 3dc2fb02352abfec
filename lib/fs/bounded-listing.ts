import { type Dirent, opendirSync } from "node:fs";

/**
 * Lists a folder to which others may write.
 * @param limit of its entries, hidden ones included: an attacker who fills a folder may name them
 * anything
 * @returns undefined where there are more, which are not read
 * @throws the system's own error (ENOENT, EACCES)
 */
export function listBounded(folder: string, limit: number): Dirent[] | undefined {
  const opened = opendirSync(folder);
  try {
    const found: Dirent[] = [];
    for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) {
      if (found.length >= limit) return undefined;
      found.push(entry);
    }
    return found;
  } finally {
    opened.closeSync();
  }
}
