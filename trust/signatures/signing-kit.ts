import { readFile } from "node:fs/promises";
import { extract, pack } from "tar-stream";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { RegularFileError, readRegularFile } from "../../lib/fs/regular-file.ts";
import { maxMessageSize } from "../openpgp/openpgp-policy.ts";
import { TrustError } from "../trust-error.ts";
import { maxPayloadSize } from "./simple-signing.ts";

/** A payload to sign, and its signature once there is one. */
export type KitEntry = {
  /** `0001-core-busybox`: unique in the kit, and readable by people. */
  readonly name: string;
  readonly payload: Uint8Array;
  readonly signature?: Uint8Array;
};

/** The folder that a kit unpacks to. */
const folder = "stagex-signing-kit";

/** The most bytes of a kit; one with 10,000 signatures has some 40 MB. */
const maxKitSize = 128 * 1024 * 1024;

/** The most entries of a kit; one with 10,000 signatures has 20,002. */
const maxEntries = 50_000;

const readMe = `Sign the files in payloads/. With gpg and a POSIX shell:

  tar -xf KIT.tar && sh ${folder}/sign.sh FINGERPRINT

writes signed.tar beside the folder. Or, where this project is checked out:

  npm run stagex sign run KIT.tar -- --key FINGERPRINT --out signed.tar

Back where the kit was made: npm run stagex sign import signed.tar
`;

/** Returns the name of the entry with this number, counted from 1. */
export function kitEntryName(number: number, image: string): string {
  const word = image.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
  return `${String(number).padStart(4, "0")}-${word.slice(0, 150)}`;
}

/**
 * Writes a kit as one tar file, whole or not at all, and replaces an existing one. It has the
 * payloads, the signatures made so far, and a shell script that signs the rest with gpg alone.
 */
export async function writeKit(file: string, entries: readonly KitEntry[]): Promise<void> {
  const tar = pack();
  const script = await readFile(new URL("sign.sh", import.meta.url));
  const add = (name: string, bytes: Uint8Array | string, mode = 0o644): void => {
    tar.entry({ name: `${folder}/${name}`, mode, mtime: new Date(1000) }, Buffer.from(bytes));
  };
  add("README", readMe);
  add("sign.sh", script, 0o755);
  for (const { name, payload, signature } of entries) {
    add(`payloads/${name}.json`, payload);
    if (signature) add(`signatures/${name}.sig`, signature);
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  await replaceFile(file, Buffer.concat(chunks));
}

/**
 * Reads a kit, signed or not, without verifying anything. Entries that are neither payloads nor
 * signatures are ignored.
 * @throws TrustError if the file is no kit, is truncated, or has two entries with one name
 */
export async function readKit(file: string): Promise<readonly KitEntry[]> {
  const parts = await readParts(file).catch(unreadable(file));
  const entries = [...parts]
    .filter(([path]) => path.startsWith("payloads/"))
    .map(([path, payload]): KitEntry => {
      const name = path.slice("payloads/".length, -".json".length);
      const signature = parts.get(`signatures/${name}.sig`);
      return { name, payload, ...(signature ? { signature } : {}) };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (entries.length === 0) throw new TrustError(`${file} is no kit: there are no payloads in it`);
  return entries;
}

const part =
  /^(?:\.\/)?(?:stagex-signing-kit\/)?((payloads|signatures)\/[0-9]{4,6}-[a-z0-9._-]{1,150}\.(?:json|sig))$/;

async function readParts(file: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const parts = new Map<string, Uint8Array>();
  const tar = extract();
  tar.end(await readRegularFile(file, maxKitSize));
  let count = 0;
  for await (const entry of tar) {
    if (++count > maxEntries) throw new TrustError(`it has more than ${maxEntries} entries`);
    const { name, type, size = 0 } = entry.header;
    const [, path, kind] = part.exec(name) ?? [];
    if (type !== "file" || path === undefined) {
      entry.resume();
      continue;
    }
    const limit = kind === "payloads" ? maxPayloadSize : maxMessageSize;
    if (size > limit) throw new TrustError(`${path} has ${size} bytes, more than such a file has`);
    if (parts.has(path)) throw new TrustError(`${path} is in it twice`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    parts.set(path, Buffer.concat(chunks));
  }
  return parts;
}

function unreadable(file: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof RegularFileError) throw new TrustError(`${file} is no kit: it ${error.found}`);
    throw new TrustError(`${file} is no kit that can be read: ${(error as Error).message}`);
  };
}
