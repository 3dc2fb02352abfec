import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateKey } from "openpgp";
import type { CpuVendor } from "../../trust/cpu-vendor.ts";

/**
 * A throw-away maintainer: no real person, with a key that was made on this machine and never
 * leaves it.
 */
export type ThrowawayMaintainer = {
  /** As in MAINTAINERS. */
  readonly id: string;
  /** The private key's file, readable by this user alone. */
  readonly key: string;
};

/** The maintainers in a rehearsal. */
export type ThrowawayMaintainers = {
  readonly people: readonly ThrowawayMaintainer[];
  /** The roster: a MAINTAINERS file with these people on this machine. */
  readonly maintainers: string;
  /** The folder of their public keys. */
  readonly keys: string;
};

const ids = ["ash", "hazel", "rowan"] as const;

/**
 * Provides the three maintainers of a rehearsal. Their keys are made the first time, whole or not
 * at all.
 *
 * @param folder the folder for their files: part of the checkout's state, which git ignores
 * @param vendor the vendor of this machine's CPU; undefined if unknown
 */
export async function provideMaintainers(
  folder: string,
  vendor: CpuVendor | undefined,
): Promise<ThrowawayMaintainers> {
  const [keys, secrets] = [join(folder, "keys"), join(folder, "secrets")];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  for (const id of ids) await ensureKey(id, keys, secrets);
  const maintainers = join(folder, "MAINTAINERS");
  await writeFile(maintainers, await rosterText(keys, vendor));
  return { people: ids.map((id) => ({ id, key: join(secrets, `${id}.asc`) })), maintainers, keys };
}

/**
 * Makes a person's key unless it exists. The public key is written last, under its fingerprint:
 * after a killed run the key is made again.
 */
async function ensureKey(id: string, keys: string, secrets: string): Promise<void> {
  await Promise.all([mkdir(keys, { recursive: true }), mkdir(secrets, { recursive: true, mode: 0o700 })]);
  if ((await readdir(keys)).some((file) => file.startsWith(`${id}-`))) return;
  const { privateKey, publicKey } = await generateKey({
    type: "ecc",
    // The spelling of Ed25519 that every gpg and podman reads.
    curve: "ed25519Legacy",
    userIDs: [{ name: `${id} (throw-away)`, email: `${id}@rehearsal.example` }],
    subkeys: [],
    format: "object",
  });
  await writeAtomically(join(secrets, `${id}.asc`), privateKey.armor(), 0o600);
  await writeAtomically(join(keys, `${id}-${privateKey.getFingerprint()}.asc`), publicKey.armor(), 0o644);
}

async function writeAtomically(file: string, text: string, mode: number): Promise<void> {
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  await writeFile(draft, text, { mode, flush: true });
  await rename(draft, file);
}

async function rosterText(keys: string, vendor: CpuVendor | undefined): Promise<string> {
  const files = await readdir(keys);
  const tables = ids.map((id) => {
    const file = files.find((name) => name.startsWith(`${id}-`) && name.endsWith(".asc")) ?? "";
    const fingerprint = file.slice(id.length + 1, -".asc".length).toUpperCase();
    const machine = vendor === undefined ? [] : [`[machines.${id}.this]`, `brand = "${vendor}"`];
    return [
      `[people.${id}]`,
      `name = "${id} (throw-away)"`,
      `[keys.${id}.rehearsal]`,
      `id = "${fingerprint}"`,
      ...machine,
      "",
    ];
  });
  return ["# Made for rehearsals on this machine. No one here is real.", "", ...tables.flat()].join("\n");
}
