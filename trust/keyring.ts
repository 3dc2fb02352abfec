import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  armor,
  config as defaults,
  enums,
  type Key,
  type PublicKey,
  readKeys,
  revokeKey,
  Subkey,
  unarmor,
} from "openpgp";
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts";
import { heedAnyHash, minRsaBits, strict } from "./openpgp-rules.ts";
import { Rejection } from "./rejection.ts";
import { TrustError } from "./trust-error.ts";

/** A key that may have made a signature: one of a certificate's, the primary or a subkey. */
export type SigningCandidate = {
  readonly certificate: PublicKey;
  readonly key: PublicKey | Subkey;
  /** Of the certificate: whose signature it is, whichever of its keys made it. */
  readonly primary: Fingerprint;
  /** Of the key itself. */
  readonly fingerprint: Fingerprint;
};

/** A file among the keys in which there are none. */
export type SkippedFile = { readonly file: string; readonly reason: string };

/** What a file has: certificates, and revocations that stand alone, armored, as `gpg --gen-revoke` writes them. */
type KeyFile = { readonly certificates: readonly PublicKey[]; readonly revocations: readonly string[] };

/** For whoever has none: a roster names keys, and has none of them in it. */
export const howToGetKeys = "a file of them is what gpg --export FINGERPRINT… writes";

/** In bytes: certificates with thousands of others' certifications are known to bring readers down. */
const maxKeyFileSize = 16 * 1024 * 1024;

/**
 * Public certificates, one for each primary key: what several files have of one is put together, so that a revocation or a renewed
 * expiry counts wherever it stands. Loaded once and kept: openpgp.js remembers in them which self-signatures it has verified.
 */
export class Keyring {
  /** By their primary keys' fingerprints. */
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  readonly skipped: readonly SkippedFile[];
  readonly #byKeyId: ReadonlyMap<string, readonly SigningCandidate[]>;
  readonly #byPrimary: ReadonlyMap<Fingerprint, readonly SigningCandidate[]>;
  readonly #primaries: ReadonlyMap<Fingerprint, Fingerprint>;

  private constructor(
    certificates: ReadonlyMap<Fingerprint, PublicKey>,
    primaries: ReadonlyMap<Fingerprint, Fingerprint>,
    skipped: readonly SkippedFile[],
  ) {
    this.certificates = certificates;
    this.skipped = skipped;
    const candidates = [...certificates].flatMap(([primary, certificate]) =>
      certificate.getKeys().map((key) => ({ certificate, key, primary, fingerprint: fingerprintOf(key) })),
    );
    this.#byKeyId = Map.groupBy(candidates, ({ key }) => key.getKeyID().toHex());
    this.#byPrimary = Map.groupBy(candidates, ({ primary }) => primary);
    this.#primaries = primaries;
  }

  /**
   * Reads certificates, armored or binary, from a folder's files or from one file (`gpg --export`), and revocations that stand alone
   * (`gpg --gen-revoke`). A file of a folder that can't be read is skipped, and says why: whoever judges by the keys has to tell that,
   * since what only it holds may be a revocation.
   * @throws TrustError where there is no such folder or file, or the one file can't be read
   */
  static async load(place: string, now = new Date()): Promise<Keyring> {
    const isFolder = (await stat(place).catch(unreadable(place))).isDirectory();
    const files = isFolder ? await keyFiles(place) : [place];
    const found: PublicKey[] = [];
    const revocations: { file: string; revocation: string }[] = [];
    const skipped: SkippedFile[] = [];
    for (const file of files) {
      try {
        const content = await contentOf(file);
        found.push(...content.certificates);
        revocations.push(...content.revocations.map((revocation) => ({ file, revocation })));
      } catch (error) {
        const reason = (error as Error).message;
        if (!isFolder) throw new TrustError(`no keys in ${place}: ${reason}`);
        skipped.push({ file: basename(file), reason });
      }
    }
    const certificates = await merged(found, now);
    for (const { file, revocation } of revocations) {
      if (!(await revokeOne(certificates, revocation, now)))
        skipped.push({ file: basename(file), reason: "it revokes a key that is not here, or it is no good" });
    }
    return new Keyring(certificates, await primariesOf(certificates), skipped);
  }

  /** The same of certificates at hand. */
  static async of(certificates: readonly Key[], now = new Date()): Promise<Keyring> {
    const found = certificates.map((certificate) => certificate.toPublic());
    const all = await merged(found, now);
    return new Keyring(all, await primariesOf(all), []);
  }

  /** The keys with this ID (16 hex digits): more than one where somebody made them so. */
  candidates(keyId: string): readonly SigningCandidate[] {
    return this.#byKeyId.get(keyId) ?? [];
  }

  /** All keys of the certificate with this primary key; none where it is not in the keyring. */
  keysOf(primary: Fingerprint): readonly SigningCandidate[] {
    return this.#byPrimary.get(primary) ?? [];
  }

  /** The primary key that this key belongs to; the fingerprint itself where the keyring has no such key. */
  primaryOf(fingerprint: Fingerprint): Fingerprint {
    return this.#primaries.get(fingerprint) ?? fingerprint;
  }
}

/**
 * Throws a Rejection unless this key may sign now: strong enough, not revoked, not expired, bound to its certificate.
 * A key that was good when it signed and is not any more does not count (DESIGN, "Quorum").
 */
export async function mustSignNow(
  { certificate, key, fingerprint }: SigningCandidate,
  now: Date,
): Promise<void> {
  const isPrimary = key === certificate;
  const name = isPrimary ? `key ${fingerprint}` : `subkey ${fingerprint} of ${fingerprintOf(certificate)}`;
  for (const one of new Set([certificate, key])) mustBeStrong(one);
  const config = { ...defaults, ...strict };
  if (await isRevoked(certificate, key, now)) throw new Rejection("revoked-key", `the ${name} is revoked`);
  const expiry = await Promise.all([
    certificate.getExpirationTime(undefined, config).catch(() => null),
    isPrimary ? null : (key as Subkey).getExpirationTime(now, config).catch(() => null),
  ]);
  const expired = expiry.find((time) => time instanceof Date && time <= now);
  if (expired instanceof Date) {
    throw new Rejection(
      "expired-key",
      `the ${name} expired on ${expired.toISOString().slice(0, 10)}; has it been renewed? then the keys are old`,
    );
  }
  try {
    await certificate.getSigningKey(key.getKeyID(), now, undefined, config);
  } catch (error) {
    throw new Rejection("invalid-key", `the ${name} may not sign: ${(error as Error).message}`);
  }
}

function mustBeStrong(key: PublicKey | Subkey): void {
  const { algorithm, bits = 0, curve } = key.getAlgorithmInfo();
  const isRsa = algorithm.startsWith("rsa");
  const isWeak = isRsa
    ? bits < minRsaBits
    : algorithm === "dsa" || algorithm === "elgamal" || curve === enums.curve.secp256k1;
  if (!isWeak) return;
  const size = isRsa ? ` with ${bits} bits (at least ${minRsaBits} are asked for)` : "";
  throw new Rejection("weak-key", `the key ${fingerprintOf(key)} is too weak: ${curve ?? algorithm}${size}`);
}

async function isRevoked(certificate: PublicKey, key: PublicKey | Subkey, now: Date): Promise<boolean> {
  const config = { ...defaults, ...heedAnyHash };
  if (await certificate.isRevoked(undefined, undefined, now, config)) return true;
  const bindings = key instanceof Subkey ? key.bindingSignatures : [];
  const answers = await Promise.all(
    bindings.map((binding) => (key as Subkey).isRevoked(binding, certificate.keyPacket, now, config)),
  );
  return answers.includes(true);
}

export function fingerprintOf(key: Key | Subkey): Fingerprint {
  return parseFingerprint(key.getFingerprint());
}

async function merged(certificates: readonly PublicKey[], now: Date): Promise<Map<Fingerprint, PublicKey>> {
  const all = new Map<Fingerprint, PublicKey>();
  for (const certificate of certificates) {
    const fingerprint = fingerprintOf(certificate);
    const known = all.get(fingerprint);
    all.set(
      fingerprint,
      known === undefined
        ? certificate
        : await known.update(certificate, now, { ...defaults, ...heedAnyHash }),
    );
  }
  return all;
}

/**
 * Which certificate each key is of. Anybody can put a copy of somebody's subkey into a certificate of their own: it is of the one
 * that it has agreed to be of (RFC 9580, section 5.2.1.8, "Primary Key Binding Signature"), whether or not it is good today.
 */
async function primariesOf(
  certificates: ReadonlyMap<Fingerprint, PublicKey>,
): Promise<ReadonlyMap<Fingerprint, Fingerprint>> {
  const config = { ...defaults, ...strict };
  const primaries = new Map<Fingerprint, Fingerprint>();
  for (const [primary, certificate] of certificates) {
    for (const subkey of certificate.subkeys) {
      const fingerprint = fingerprintOf(subkey);
      const signer = certificate.getSigningKey(subkey.getKeyID(), null, undefined, config);
      const found = await signer.then(fingerprintOf, () => undefined);
      if (found === fingerprint) primaries.set(fingerprint, primary);
    }
  }
  for (const primary of certificates.keys()) primaries.set(primary, primary);
  return primaries;
}

/** Puts a revocation that stands alone to the certificate it is of; false where there is none. */
async function revokeOne(
  certificates: Map<Fingerprint, PublicKey>,
  revocation: string,
  now: Date,
): Promise<boolean> {
  for (const [fingerprint, certificate] of certificates) {
    try {
      const config = { ...defaults, ...heedAnyHash };
      const asked = { key: certificate, revocationCertificate: revocation, date: now, config };
      const { publicKey } = await revokeKey({ ...asked, format: "object" });
      certificates.set(fingerprint, publicKey);
      return true;
    } catch {
      // Another key's: that is found out by trying.
    }
  }
  return false;
}

async function keyFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(unreadable(folder));
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => join(folder, name))
    .sort();
}

async function contentOf(file: string): Promise<KeyFile> {
  const facts = await stat(file);
  if (!facts.isFile()) throw new Error("it is not a file");
  if (facts.size > maxKeyFileSize) throw new Error(`it has ${facts.size} bytes, more than certificates have`);
  const bytes = await readFile(file);
  if (bytes.subarray(8, 12).toString("latin1") === "KBXf") {
    throw new Error("it is GnuPG's own keybox; export the keys: gpg --armor --export FINGERPRINT…");
  }
  const content = isBinary(bytes) ? await blockContent(bytes) : await armoredContent(bytes.toString("utf8"));
  if (content.certificates.some((key) => key.isPrivate())) {
    throw new Error(
      "it holds a private key, which has no place here; export the public one: gpg --armor --export",
    );
  }
  return content;
}

/** All blocks of a file: people put several one after another. Those behind a colon gpg has disarmed, so as not to be used yet. */
async function armoredContent(text: string): Promise<KeyFile> {
  const blocks = text.match(/(?<!:)-----BEGIN PGP [A-Z ]+-----[\s\S]*?-----END PGP [A-Z ]+-----/g) ?? [];
  if (blocks.length === 0) throw new Error("there is no OpenPGP certificate in it");
  const contents = await Promise.all(blocks.map(blockContent));
  return {
    certificates: contents.flatMap(({ certificates }) => certificates),
    revocations: contents.flatMap(({ revocations }) => revocations),
  };
}

/** One block, armored or binary: a revocation that stands alone begins with its signature, where certificates begin with a key. */
async function blockContent(block: string | Uint8Array): Promise<KeyFile> {
  const binary = typeof block === "string" ? await unarmored(block) : block;
  if (firstTag(binary) !== enums.packet.signature)
    return { certificates: await readKeys({ binaryKeys: binary }), revocations: [] };
  return { certificates: [], revocations: [armor(enums.armor.publicKey, binary)] };
}

async function unarmored(block: string): Promise<Uint8Array> {
  const { data } = await unarmor(block);
  return new Uint8Array(await new Response(data).arrayBuffer());
}

/** The tag of the first packet, in its old or its new format (RFC 9580, section 4.2). */
function firstTag([octet = 0]: Uint8Array): number {
  return (octet & 0x40) !== 0 ? octet & 0x3f : (octet & 0x3c) >> 2;
}

/** The first octet of every OpenPGP packet has its highest bit set (RFC 9580, section 4.2); armor is ASCII. */
function isBinary(bytes: Uint8Array): boolean {
  return ((bytes[0] ?? 0) & 0x80) !== 0;
}

function unreadable(place: string): (error: unknown) => never {
  return (error) => {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? `there is nothing there; ${howToGetKeys}` : message;
    throw new TrustError(`no keys at ${place}: ${why}`);
  };
}
