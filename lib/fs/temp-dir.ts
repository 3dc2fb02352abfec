import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatIdentity, isAlive, ownIdentity, parseIdentity } from "./pid-identity.ts";

/** A temporary folder of this process. */
export type TempDir = { readonly path: string; remove(): Promise<void> };

/** The folders that this process has cleared of leftovers. */
const swept = new Set<string>();

/**
 * Creates an empty folder (0700) below `scratch`. Its name has the identity of this process, so
 * that a later process removes what a killed one left. Synchronous: each of a release's builds has
 * several such folders, and the thread pool takes longer.
 */
export async function openTempDir(scratch: string): Promise<TempDir> {
  if (!swept.has(scratch)) {
    await mkdir(scratch, { recursive: true });
    await removeLeftovers(scratch);
    swept.add(scratch);
  }
  const path = join(scratch, `${formatIdentity(ownIdentity())}.${randomBytes(6).toString("hex")}`);
  // Recursive: `scratch` may have been removed since.
  mkdirSync(path, { mode: 0o700, recursive: true });
  return { path, remove: async () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs `work` with a temporary folder, and removes the folder afterwards, also on error. */
export async function withTempDir<T>(scratch: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await openTempDir(scratch);
  try {
    return await work(folder.path);
  } finally {
    await folder.remove();
  }
}

/** Removes the temporary folders whose process has ended. Other names are left alone. */
async function removeLeftovers(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    const owner = parseIdentity(name);
    if (owner && !isAlive(owner)) await rm(join(scratch, name), { recursive: true, force: true });
  }
}
