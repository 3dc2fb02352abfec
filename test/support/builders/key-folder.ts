import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Key, type PrivateKey, revokeKey, unarmor } from "openpgp";
import { Keyring } from "../../../trust/openpgp/keyring.ts";
import { evaluateQuorum, type QuorumVerdict } from "../../../trust/quorum/quorum.ts";
import { parseRoster } from "../../../trust/quorum/roster.ts";
import { image, maintainersOf, newKey, type People, signedBy } from "./maintainers.ts";
import { scratchFolder } from "./scratch-folder.ts";

/** Files by their paths below the folder. */
export type Files = Readonly<Record<string, Uint8Array | string>>;

/** Writes a folder of keys of the test's own. */
export async function keyFolder(files: Files): Promise<string> {
  const folder = await scratchFolder();
  for (const [name, content] of Object.entries(files)) writeKeyFile(folder, name, content);
  return folder;
}

export function writeKeyFile(folder: string, name: string, content: Uint8Array | string): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), content);
}

/**
 * Evaluates these signatures with the keys in a folder by a rule. Default: one person on any
 * hardware.
 */
export async function judgedWith(
  folder: string,
  signatures: readonly Uint8Array[],
  people: People,
  rule = { threshold: 1, vendors: 0 },
): Promise<QuorumVerdict> {
  const files = signatures.map((bytes, index) => ({ file: `signature-${index + 1}`, bytes }));
  const trust = { roster: parseRoster(maintainersOf(people)), keyring: await Keyring.load(folder) };
  return await evaluateQuorum(image, files, trust, rule);
}

/** Returns the result in one word, as the exit codes 0, 1 and 2 of `stagex verify`. */
export function verdictOf({ met, doubts }: QuorumVerdict): "met" | "not met" | "can't tell" {
  if (doubts.length > 0) return "can't tell";
  return met ? "met" : "not met";
}

/** A person with a subkey, a signature, and a separate revocation of the key. */
export type Revocable = {
  readonly key: PrivateKey;
  readonly certificate: Buffer;
  readonly signature: Uint8Array;
  readonly armored: string;
  readonly revocation: Buffer;
};

export async function revocable(name: string): Promise<Revocable> {
  const key = await newKey(name, { subkeys: [{ sign: true }] });
  const armored = await loneRevocation(key);
  return {
    ...{ key, armored, certificate: certificateOf(key) },
    signature: await signedBy(key),
    revocation: await binaryOf(armored),
  };
}

/** Returns the public part of a key. */
export function certificateOf(key: PrivateKey): Buffer {
  return Buffer.from(key.toPublic().write());
}

/** Makes an armored revocation of the key that stands alone, as `gpg --gen-revoke` does. */
export async function loneRevocation(key: Key, date = new Date(), flag?: number): Promise<string> {
  if (!key.isPrivate()) throw new Error("only a private key revokes itself");
  const reason = flag === undefined ? {} : { reasonForRevocation: { flag } };
  const { publicKey } = await revokeKey({ key, date, ...reason, format: "object" });
  const certificate = await publicKey.getRevocationCertificate(new Date(date.getTime() + 1000));
  if (typeof certificate !== "string") throw new Error("no revocation");
  return certificate;
}

export async function binaryOf(armored: string): Promise<Buffer> {
  const { data } = await unarmor(armored);
  return Buffer.from(await new Response(data).arrayBuffer());
}
