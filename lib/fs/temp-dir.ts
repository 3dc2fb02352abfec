import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatIdentity, isAlive, ownIdentity, parseIdentity } from "./pid-identity.ts";

/** A folder of this process's own, until it is removed. */
export type TempDir = { readonly path: string; remove(): Promise<void> };

/** The folders that this process has swept. */
const swept = new Set<string>();

/**
 * Makes a new empty folder (0700) below `scratch`. The name says whose it is, so that what a killed process left behind is swept by the
 * next one. Made and removed at once: each of a release's builds has several, and the thread pool's ways are longer.
 */
export async function openTempDir(scratch: string): Promise<TempDir> {
  if (!swept.has(scratch)) {
    await mkdir(scratch, { recursive: true });
    await sweepWorkFolders(scratch);
    swept.add(scratch);
  }
  const path = join(scratch, `${formatIdentity(ownIdentity())}.${randomBytes(6).toString("hex")}`);
  // It may have been removed since: then this makes it again.
  mkdirSync(path, { mode: 0o700, recursive: true });
  return { path, remove: async () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs `work` with a work folder, and removes the folder afterwards, also on error. */
export async function withTempDir<T>(scratch: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await openTempDir(scratch);
  try {
    return await work(folder.path);
  } finally {
    await folder.remove();
  }
}

/** Removes the folders below `scratch` whose process has ended. Names that are no work folder's are left alone. */
async function sweepWorkFolders(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    const owner = parseIdentity(name);
    if (owner && !isAlive(owner)) await rm(join(scratch, name), { recursive: true, force: true });
  }
}
