import type { Stats } from "node:fs";
import { lstat, opendir, readdir, rm, unlink } from "node:fs/promises";
import { join } from "node:path";

/** Limits of a folder with leftovers. */
export type FolderBounds = {
  /** Number of entries. */
  readonly count: number;
  /** Bytes in all. */
  readonly bytes: number;
  /** Age of an entry, in milliseconds since it was last changed. */
  readonly maxAge: number;
  /**
   * Age, in milliseconds, below which an entry is kept, since a live process may use it; none by
   * default.
   */
  readonly minAge?: number;
};

/**
 * Removes the oldest entries of a folder until it is within its limits; the newest is kept, however
 * large. Links are removed and never followed, and a link in the folder's own place is left alone.
 * An entry that can't be removed, or that another process removes at the same time, is skipped.
 * @param isLeftover selects entries by name; all by default
 */
export async function pruneFolder(
  folder: string,
  bounds: FolderBounds,
  isLeftover: (name: string) => boolean = () => true,
): Promise<void> {
  if (!(await isFolder(folder))) return;
  const names = await readdir(folder).catch(() => []);
  await removeBeyond(pathsOf(folder, names.filter(isLeftover)), bounds, (path) =>
    rm(path, { recursive: true, force: true }),
  );
}

/**
 * Does the same for a folder to which others may write. They may replace it with a link at any
 * moment, so only the selected files are removed, and never a folder: wherever a link leads,
 * nothing else is lost.
 * @param most limit of the entries that are read; a fuller folder is pruned in part
 */
export async function pruneSharedFolder(
  folder: string,
  bounds: FolderBounds,
  { isLeftover, most }: { readonly isLeftover: (name: string) => boolean; readonly most: number },
): Promise<void> {
  if (!(await isFolder(folder))) return;
  const names = await firstNames(folder, most).catch(() => []);
  await removeBeyond(pathsOf(folder, names.filter(isLeftover)), bounds, unlink);
}

async function isFolder(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function pathsOf(folder: string, names: readonly string[]): string[] {
  return names.map((name) => join(folder, name));
}

async function firstNames(folder: string, most: number): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(folder)) {
    if (names.length >= most) break;
    names.push(name);
  }
  return names;
}

async function removeBeyond(
  paths: readonly string[],
  { count, bytes, maxAge: age, minAge: spared = 0 }: FolderBounds,
  remove: (path: string) => Promise<void>,
): Promise<void> {
  const entries: { path: string; facts: Stats }[] = [];
  for (const path of paths) {
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
    else await remove(path).catch(() => undefined);
  }
}
