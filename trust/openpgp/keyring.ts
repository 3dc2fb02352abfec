import { join } from "node:path";
import { config as defaults, enums, type Key, type PublicKey, type Subkey } from "openpgp";
import { escapeControlCharacters } from "../../lib/text/escape-control-characters.ts";
import { TrustError } from "../trust-error.ts";
import { dropOversizedCertificates } from "./certificate-limits.ts";
import { directKeySignatures, mergeCertificates } from "./certificate-merge.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { parseKeyFile } from "./key-file.ts";
import { readKeyFiles } from "./key-folder.ts";
import {
  clockTolerance,
  minRsaBits,
  refusedAlgorithms,
  refusedCurves,
  strictConfig,
  supportedCurves,
} from "./openpgp-policy.ts";
import {
  certificateKey,
  findRevocations,
  fingerprintOf,
  type RevocationDoubt,
  type StandaloneRevocation,
} from "./revocations.ts";
import { SignatureRejection } from "./signature-rejection.ts";

/** A key that may have made a signature: one of a certificate's, the primary or a subkey. */
export type SigningCandidate = {
  readonly certificate: PublicKey;
  readonly key: PublicKey | Subkey;
  /** Of the certificate: whose signature it is, whichever of its keys made it. */
  readonly primary: Fingerprint;
  /** Of the key itself. */
  readonly fingerprint: Fingerprint;
  /** How the key or its certificate is revoked; nothing where neither is. */
  readonly revoked?: string;
};

/** A file among the keys of which something was left out. */
export type SkippedFile = { readonly file: string; readonly reason: string };

/** Bounds of what is read of a place of keys, so that it takes seconds whatever is in it. A roster has some tens of people. */
const maxPackets = 50_000;
const maxCertificates = 2000;
const maxLone = 100;

/** What a keyring is made of. */
type Contents = {
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  readonly alone?: readonly StandaloneRevocation[];
  readonly skipped?: readonly SkippedFile[];
  readonly doubts?: readonly RevocationDoubt[];
};

/**
 * Public certificates, one for each primary key: what several files have of one is put together, so that a revocation or a renewed
 * expiry counts wherever it stands. Loaded once and kept: openpgp.js remembers in them which self-signatures it has verified.
 */
export class Keyring {
  /** By their primary keys' fingerprints. */
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  /** Files of which something was left out that can't be a revocation. */
  readonly skipped: readonly SkippedFile[];
  /** What may be a revocation and could not be applied. */
  readonly doubts: readonly RevocationDoubt[];
  readonly #byKeyId: ReadonlyMap<string, readonly SigningCandidate[]>;
  readonly #byPrimary: ReadonlyMap<Fingerprint, readonly SigningCandidate[]>;
  readonly #primaries: ReadonlyMap<Fingerprint, Fingerprint>;

  private constructor(
    certificates: ReadonlyMap<Fingerprint, PublicKey>,
    primaries: ReadonlyMap<Fingerprint, Fingerprint>,
    revoked: ReadonlyMap<string, string>,
    skipped: readonly SkippedFile[],
    doubts: readonly RevocationDoubt[],
  ) {
    this.certificates = certificates;
    this.skipped = skipped;
    this.doubts = doubts;
    const candidates = [...certificates].flatMap(([primary, certificate]) =>
      certificate.getKeys().map((key): SigningCandidate => {
        const fingerprint = fingerprintOf(key);
        const how =
          revoked.get(certificateKey(primary, primary)) ?? revoked.get(certificateKey(primary, fingerprint));
        return { certificate, key, primary, fingerprint, ...(how === undefined ? {} : { revoked: how }) };
      }),
    );
    this.#byKeyId = Map.groupBy(candidates, ({ key }) => key.getKeyID().toHex());
    this.#byPrimary = Map.groupBy(candidates, ({ primary }) => primary);
    this.#primaries = primaries;
  }

  /**
   * Reads certificates, armored or binary, from a folder with its sub-folders or from one file (`gpg --export`), and revocations that
   * stand alone (`gpg --gen-revoke`). What can't be read or applied is in `doubts`, since it may be a revocation.
   * @throws TrustError where there is no such folder or file, or the one file has no certificate
   */
  static async load(place: string): Promise<Keyring> {
    const { isFolder, files } = await readKeyFiles(place);
    const found: PublicKey[] = [];
    const alone: StandaloneRevocation[] = [];
    const skipped: SkippedFile[] = [];
    const doubts: RevocationDoubt[] = [];
    let room = maxPackets;
    for (const one of files) {
      const { file } = one;
      if ("problem" in one) {
        doubts.push({ file, reason: `it ${one.problem}` });
        continue;
      }
      const content = await parseKeyFile(one.bytes, room);
      room -= content.packets;
      found.push(...content.certificates);
      alone.push(...content.revocations.map((revocation) => ({ file, ...revocation })));
      skipped.push(...content.notes.map((reason) => ({ file, reason })));
      doubts.push(...content.doubts.map((doubt) => ({ ...doubt, file })));
    }
    if (found.length > maxCertificates || alone.length > maxLone)
      throw new TrustError(
        `no keys in ${place}: there are ${found.length} certificates and ${alone.length} revocations, more than the ${maxCertificates} and ${maxLone} that are read`,
      );
    if (found.length === 0 && !isFolder)
      throw new TrustError(`no keys in ${place}: ${[...doubts, ...skipped][0]?.reason ?? "it is empty"}`);
    return await Keyring.#from({
      certificates: mergeCertificates(found, fingerprintOf),
      alone,
      skipped,
      doubts,
    });
  }

  /** The same of certificates at hand. */
  static async of(certificates: readonly Key[]): Promise<Keyring> {
    const found = certificates.map((certificate) => certificate.toPublic());
    return await Keyring.#from({ certificates: mergeCertificates(found, fingerprintOf) });
  }

  static async #from({
    certificates: found,
    alone = [],
    skipped = [],
    doubts = [],
  }: Contents): Promise<Keyring> {
    const { certificates, doubts: oversized } = dropOversizedCertificates(found);
    const revocations = await findRevocations(certificates, alone);
    const primaries = await primariesOf(certificates);
    return new Keyring(certificates, primaries, revocations.revoked, skipped, [
      ...doubts,
      ...oversized,
      ...revocations.doubts,
    ]);
  }

  /** What people should know of the files in this folder: what was left out, and what may revoke keys and could not be applied. */
  warnings(folder = ""): readonly string[] {
    const doubts = this.doubts.map(({ file, ...doubt }) =>
      textOf({ ...doubt, ...(file === undefined ? {} : { file: join(folder, file) }) }),
    );
    return [
      ...this.skipped.map(({ file, reason }) => `${join(folder, file)} is skipped: ${reason}`),
      ...doubts.map((words) => `${words}; a key may be revoked`),
    ].map(escapeControlCharacters);
  }

  /** What may revoke the certificate with this primary key and could not be applied: `FILE: reason`. */
  doubtsAbout(primary: Fingerprint): readonly string[] {
    const about = this.doubts.filter(({ keys }) => keys === undefined || keys.includes(primary));
    return about.map(textOf).map(escapeControlCharacters);
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

function textOf({ file, reason }: RevocationDoubt): string {
  return file === undefined ? reason : `${file}: ${reason}`;
}

/**
 * Throws a Rejection unless this key may sign now: strong enough, not revoked, not expired, bound to its certificate.
 * A key that was good when it signed and is not any more does not count (DESIGN, "Quorum").
 */
export async function requireSigningKey(
  { certificate, key, fingerprint, revoked }: SigningCandidate,
  now: Date,
): Promise<void> {
  const isPrimary = key === certificate;
  const name = isPrimary ? `key ${fingerprint}` : `subkey ${fingerprint} of ${fingerprintOf(certificate)}`;
  for (const one of new Set([certificate, key])) requireStrongKey(one);
  const config = { ...defaults, ...strictConfig };
  if (revoked !== undefined) throw new SignatureRejection("revoked-key", `the ${name} is ${revoked}`);
  const expiry = await Promise.all([
    certificate.getExpirationTime(undefined, config).catch(() => null),
    isPrimary ? null : (key as Subkey).getExpirationTime(now, config).catch(() => null),
  ]);
  const expired = expiry.find((time) => time instanceof Date && time <= now);
  if (expired instanceof Date) {
    throw new SignatureRejection(
      "expired-key",
      `the ${name} expired on ${expired.toISOString().slice(0, 10)}; has it been renewed? then the keys are old`,
    );
  }
  try {
    await withClockTolerance(now, (date) => requireBinding(certificate, key, date));
  } catch (error) {
    throw new SignatureRejection("invalid-key", `the ${name} may not sign: ${(error as Error).message}`);
  }
}

/** Checks as of now and, where that fails for a date, as of the latest time that another's clock may show. */
export async function withClockTolerance<T>(now: Date, check: (date: Date) => Promise<T>): Promise<T> {
  try {
    return await check(now);
  } catch (error) {
    if (!/in the future|is expired/i.test((error as Error).message)) throw error;
    return await check(new Date(now.getTime() + clockTolerance)).catch(() => {
      throw error;
    });
  }
}

/**
 * Throws unless the key is bound to its certificate, for signing. A primary key whose user IDs state no flags has those of its newest
 * direct-key signature, whose subpackets are about the key as a whole (RFC 9580, section 5.2.3.10).
 */
async function requireBinding(certificate: PublicKey, key: PublicKey | Subkey, date: Date): Promise<void> {
  const config = { ...defaults, ...strictConfig };
  const isPrimary = key === certificate;
  const allowMissingKeyFlags = isPrimary && (await hasDirectSigningFlag(certificate, date));
  await certificate.getSigningKey(key.getKeyID(), date, undefined, { ...config, allowMissingKeyFlags });
}

async function hasDirectSigningFlag(certificate: PublicKey, date: Date): Promise<boolean> {
  const { keyPacket } = certificate;
  const newestFirst = directKeySignatures(certificate)
    .filter(({ signatureType }) => signatureType === enums.signature.key)
    .sort((a, b) => Number(b.created) - Number(a.created));
  for (const signature of newestFirst) {
    const over = { key: keyPacket };
    const config = { ...defaults, ...strictConfig };
    const holds = await signature.verify(keyPacket, enums.signature.key, over, date, false, config).then(
      () => true,
      () => false,
    );
    if (holds) return ((signature.keyFlags?.[0] ?? 0) & enums.keyFlags.signData) !== 0;
  }
  return false;
}

function requireStrongKey(key: PublicKey | Subkey): void {
  const { algorithm, bits = 0, curve } = key.getAlgorithmInfo();
  const isRsa = algorithm.startsWith("rsa");
  const isWeak = isRsa
    ? bits < minRsaBits
    : refusedAlgorithms.has(enums.publicKey[algorithm]) || refusedCurves.has(curve);
  if (isWeak) {
    const size = isRsa ? ` with ${bits} bits (at least ${minRsaBits} are asked for)` : "";
    throw new SignatureRejection(
      "weak-key",
      `the key ${fingerprintOf(key)} is too weak: ${curve ?? algorithm}${size}`,
    );
  }
  if (algorithm !== "ecdsa" || supportedCurves.has(curve)) return;
  throw new SignatureRejection(
    "unsupported-key",
    `the key ${fingerprintOf(key)} is on the curve ${curve}, which is not supported; sign with RSA, Ed25519, Ed448 or NIST P-256, P-384 or P-521`,
  );
}

/**
 * Which certificate each key is of. Anybody can put a copy of somebody's subkey into a certificate of their own: it is of the one
 * that it has agreed to be of (RFC 9580, section 5.2.1.8, "Primary Key Binding Signature"), whether or not it is good today.
 */
async function primariesOf(
  certificates: ReadonlyMap<Fingerprint, PublicKey>,
): Promise<ReadonlyMap<Fingerprint, Fingerprint>> {
  const config = { ...defaults, ...strictConfig };
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
