import type { Stats } from "node:fs";
import { lstat, opendir, readdir, rm, unlink } from "node:fs/promises";
import { join } from "node:path";

/** What a folder of leftovers may hold. */
export type FolderBounds = {
  /** How many entries. */
  readonly count: number;
  /** How many bytes in all. */
  readonly bytes: number;
  /** How old an entry may be, in milliseconds since it was last changed. */
  readonly maxAge: number;
  /** An entry that was changed more recently is left alone, since a live process may be at it: in milliseconds, none by default. */
  readonly minAge?: number;
};

/**
 * Removes the oldest entries of a folder until it is within its bounds; the newest stays, however large it is. Links are removed, never
 * followed, and a link in the folder's own place is left alone. What another process removes at the same time, and what can't be removed,
 * is passed over: it is swept another time.
 * @param isLeftover which entries count, by name; all by default
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
 * Does the same for a folder to which others may write, who may exchange it for a link at any moment. So only files of our own kind are
 * removed, each by itself, and never a folder: wherever a link leads, nothing else is lost there.
 * @param most how many entries are read of the folder; a fuller one is swept in part
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
