import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatIdentity, isAlive, ownIdentity, parseIdentity } from "./process-identity.ts";

/**
 * Runs `work` with a new empty folder (0700) below `scratch`, and removes the folder afterwards, also on error.
 * The name says whose it is, so that what a killed process left behind is swept by the next one.
 */
export async function withWorkFolder<T>(scratch: string, work: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(scratch, { recursive: true });
  await sweepWorkFolders(scratch);
  const folder = join(scratch, `${formatIdentity(ownIdentity())}.${randomBytes(6).toString("hex")}`);
  await mkdir(folder, { mode: 0o700 });
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes the folders below `scratch` whose process has ended. Names that are no work folder's are left alone. */
async function sweepWorkFolders(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    const owner = parseIdentity(name);
    if (owner && !isAlive(owner)) await rm(join(scratch, name), { recursive: true, force: true });
  }
}
