import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatIdentity, isAlive, ownIdentity, parseIdentity } from "../../lib/fs/pid-identity.ts";

/** One use of the daemon by one process; a file whose name says which process. */
export type Lease = { readonly file: string };

/** Writes a lease of this process into the folder. */
export async function takeLease(folder: string): Promise<Lease> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${formatIdentity(ownIdentity())}.${randomBytes(6).toString("hex")}`);
  await writeFile(file, "", { flag: "wx" });
  return { file };
}

/** Ends a lease; twice does no harm. */
export async function releaseLease(lease: Lease): Promise<void> {
  await rm(lease.file, { force: true });
}

/** Whether any living process holds a lease. Those of dead processes are removed. */
export async function isLeased(folder: string): Promise<boolean> {
  let leased = false;
  for (const name of await readdir(folder).catch(() => [])) {
    const holder = parseIdentity(name);
    if (holder && isAlive(holder)) leased = true;
    else await rm(join(folder, name), { force: true });
  }
  return leased;
}
