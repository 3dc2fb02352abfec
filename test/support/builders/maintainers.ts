import { execFileSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { createMessage, enums, generateKey, type Key, type KeyOptions, type PrivateKey, sign } from "openpgp";
import { expect, onTestFinished } from "vitest";
import { Keyring } from "../../../trust/openpgp/keyring.ts";
import { evaluateQuorum, type QuorumVerdict } from "../../../trust/quorum/quorum.ts";
import { parseRoster } from "../../../trust/quorum/roster.ts";
import { parsePinnedImage } from "../../../trust/signatures/image-reference.ts";
import type { SignatureFile } from "../../../trust/signatures/signature-file.ts";
import { scratchFolder } from "./scratch-folder.ts";

/** Fictional people sign this image by default. Their keys live as long as the test. */
export const digest = `sha256:${"5eed".repeat(16)}`;
export const otherDigest = `sha256:${"0bad".repeat(16)}`;
export const image = parsePinnedImage(`stagex/core-seed:1.0@${digest}`);

/** Returns a date this many days from now, for a key's creation or expiry. */
export function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 24 * 3600 * 1000);
}

/** Makes an Ed25519 key, two days old. */
export async function newKey(
  name: string,
  options: Partial<Omit<KeyOptions, "format">> = {},
): Promise<PrivateKey> {
  const { privateKey } = await generateKey({
    type: "ecc",
    curve: "ed25519Legacy",
    userIDs: [{ name, email: `${name}@seed-tree.example` }],
    date: daysFromNow(-2),
    subkeys: [],
    ...options,
    format: "object",
  });
  return privateKey;
}

/** Returns a payload's text as StageX writes it; attacks write their own. */
export function payload({
  reference = "stagex/core-seed:1.0",
  manifest = digest,
  optional = {},
}: {
  reference?: string;
  manifest?: string;
  optional?: object;
} = {}): string {
  return JSON.stringify({
    critical: {
      identity: { "docker-reference": reference },
      image: { "docker-manifest-digest": manifest },
      type: "atomic container signature",
    },
    optional,
  });
}

/** Makes a good signature of any text, by the key or by the named subkey. */
export async function signedBy(
  key: PrivateKey,
  text = payload(),
  { date = daysFromNow(-1), by = key.getKeyID() }: { date?: Date; by?: ReturnType<Key["getKeyID"]> } = {},
): Promise<Uint8Array> {
  return sign({
    message: await createMessage({ binary: Buffer.from(text), format: "binary" }),
    signingKeys: key,
    signingKeyIDs: by,
    format: "binary",
    date,
    config: { preferredHashAlgorithm: enums.hash.sha512 },
  });
}

/** People of a roster: their keys, and the brands of their machines. */
export type People = Readonly<Record<string, { keys: readonly Key[]; brands?: readonly string[] }>>;

/** Returns the text of their MAINTAINERS. */
export function maintainersOf(people: People): string {
  const tables = Object.entries(people).map(([id, { keys, brands = ["AMD"] }]) => [
    `[people.${id}]\nname = "${id}"`,
    ...keys.map((key, index) => `[keys.${id}.key${index}]\nid = "${key.getFingerprint().toUpperCase()}"`),
    ...brands.map((brand, index) => `[machines.${id}.machine${index}]\nbrand = "${brand}"`),
  ]);
  return ["[people]", ...tables.flat()].join("\n");
}

/**
 * Evaluates these files (signature-1, signature-2, …) by a rule. Default: two people on any
 * hardware.
 */
export async function judged(
  signatures: readonly Uint8Array[],
  people: People,
  rule = { threshold: 2, vendors: 0 },
  now = new Date(),
): Promise<QuorumVerdict> {
  const files = signatures.map((bytes, index): SignatureFile => ({ file: `signature-${index + 1}`, bytes }));
  const keyring = await Keyring.of(Object.values(people).flatMap(({ keys }) => keys));
  return evaluateQuorum(image, files, { roster: parseRoster(maintainersOf(people)), keyring }, rule, now);
}

/** Evaluates one file with these bytes. Expects its rejection with this code, and no signer. */
export async function expectRejected(bytes: Uint8Array | string, key: Key, code: string): Promise<void> {
  const outcome = await judged([Buffer.from(bytes)], { alice: { keys: [key] } });
  expect(outcome).toMatchObject({ people: 0, rejected: [{ file: "signature-1", code }] });
}

/** Returns the codes of the rejected files, by file. */
export function codesOf({ rejected }: QuorumVerdict): Record<string, string> {
  return Object.fromEntries(rejected.map(({ file, code }) => [file, code]));
}

/**
 * Makes a gpg with a home of the test's own: `gpg(["--sign"], bytes)` returns its output. Its agent
 * ends with the test.
 */
export async function gpgHome(): Promise<{
  readonly home: string;
  gpg(args: readonly string[], input?: Uint8Array | string): Buffer;
  newKey(name: string, algorithm: string): string;
}> {
  const home = await scratchFolder();
  chmodSync(home, 0o700);
  onTestFinished(() => {
    execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
  });
  const gpg = (args: readonly string[], input: Uint8Array | string = "") =>
    execFileSync(
      "gpg",
      [
        "--homedir",
        home,
        "--batch",
        "--quiet",
        "--pinentry-mode=loopback",
        "--passphrase=",
        "--trust-model=always",
        ...args,
      ],
      { input, stdio: ["pipe", "pipe", "pipe"], maxBuffer: 1e9 },
    );
  return {
    home,
    gpg,
    /** Makes a signing key, and returns its fingerprint. */
    newKey(name, algorithm) {
      gpg(["--quick-gen-key", `${name} <${name}@seed-tree.example>`, algorithm, "sign", "1y"]);
      const listing = gpg(["--list-keys", "--with-colons", `${name}@seed-tree.example`]).toString();
      return /^fpr:+([0-9A-F]+):/m.exec(listing)?.[1] ?? "";
    },
  };
}
