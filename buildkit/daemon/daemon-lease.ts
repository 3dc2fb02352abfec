import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatIdentity, isAlive, ownIdentity, parseIdentity } from "../../lib/fs/pid-identity.ts";

/** A use of the daemon by a process: a file with the process in its name. */
export type Lease = { readonly file: string };

/** Writes a lease of this process into the folder. */
export async function takeLease(folder: string): Promise<Lease> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${formatIdentity(ownIdentity())}.${randomBytes(6).toString("hex")}`);
  await writeFile(file, "", { flag: "wx" });
  return { file };
}

/** Releases a lease; a second call has no effect. */
export async function releaseLease(lease: Lease): Promise<void> {
  await rm(lease.file, { force: true });
}

/** Whether any living process holds a lease. Removes the leases of dead processes. */
export async function isLeased(folder: string): Promise<boolean> {
  let leased = false;
  for (const name of await readdir(folder).catch(() => [])) {
    const holder = parseIdentity(name);
    if (holder && isAlive(holder)) leased = true;
    else await rm(join(folder, name), { force: true });
  }
  return leased;
}
