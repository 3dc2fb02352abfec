import type { Stats } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** What a folder of leftovers may hold. */
export type FolderBounds = {
  /** How many entries. */
  readonly count: number;
  /** How many bytes in all. */
  readonly bytes: number;
  /** How old an entry may be, in milliseconds since it was last changed. */
  readonly age: number;
  /** An entry that was changed more recently is left alone, since a live process may be at it: in milliseconds, none by default. */
  readonly spared?: number;
};

/**
 * Removes the oldest entries of a folder until it is within its bounds; the newest stays, however large it is. Links are removed, never
 * followed, and a link in the folder's own place is left alone. What another process removes at the same time, and what can't be removed,
 * is passed over: it is swept another time.
 * @param isLeftover which entries count, by name; all by default
 */
export async function boundFolder(
  folder: string,
  { count, bytes, age, spared = 0 }: FolderBounds,
  isLeftover: (name: string) => boolean = () => true,
): Promise<void> {
  if (!(await lstat(folder).catch(() => undefined))?.isDirectory()) return;
  const entries: { path: string; facts: Stats }[] = [];
  for (const name of (await readdir(folder).catch(() => [])).filter(isLeftover)) {
    const path = join(folder, name);
    const facts = await lstat(path).catch(() => undefined);
    if (facts) entries.push({ path, facts });
  }
  entries.sort((one, other) => other.facts.ctimeMs - one.facts.ctimeMs);
  const now = Date.now();
  let held = 0;
  for (const [index, { path, facts }] of entries.entries()) {
    const size = facts.blocks * 512;
    const idle = now - facts.ctimeMs;
    const fits = index < count && (index === 0 || held + size <= bytes) && idle <= age;
    if (fits || idle < spared) held += size;
    else await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}
