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

/** A key that may have made a signature: the primary key or a subkey of a certificate. */
export type SigningCandidate = {
  readonly certificate: PublicKey;
  readonly key: PublicKey | Subkey;
  /** The primary key of the certificate. It owns the signatures of all its subkeys. */
  readonly primary: Fingerprint;
  /** Fingerprint of the key itself. */
  readonly fingerprint: Fingerprint;
  /** The way in which the key or its certificate is revoked; absent if neither is. */
  readonly revoked?: string;
};

/** A key file of which a part was left out. */
export type SkippedFile = { readonly file: string; readonly reason: string };

/**
 * Bounds of a key folder, so that it loads in seconds whatever is in it. Rosters have tens of
 * people.
 */
const maxPackets = 50_000;
const maxCertificates = 2000;
const maxLone = 100;

/** The parts that a keyring is made from. */
type Contents = {
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  readonly alone?: readonly StandaloneRevocation[];
  readonly skipped?: readonly SkippedFile[];
  readonly doubts?: readonly RevocationDoubt[];
};

/**
 * Public certificates, one for each primary key. Copies from several files are merged, so that a
 * revocation or a renewed expiry counts wherever it is. Load a keyring once and keep it: openpgp.js
 * caches verified self-signatures in the certificates.
 */
export class Keyring {
  /** Certificates by the fingerprint of their primary key. */
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  /** Files with parts that were left out and can't be a revocation. */
  readonly skipped: readonly SkippedFile[];
  /** Parts that may be a revocation and could not be applied. */
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
   * Loads certificates, armored or binary, from a folder with its subfolders or from one file (`gpg
   * --export`), and standalone revocations (`gpg --gen-revoke`). Everything that can't be read or
   * applied is in `doubts`, since it may be a revocation.
   * @throws TrustError if there is no such folder or file, or the one file has no certificate
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

  /** Makes a keyring from certificates in memory. */
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

  /**
   * Returns warnings for people: parts of files in this folder that were left out, and possible
   * revocations that were not applied.
   */
  warnings(folder = ""): readonly string[] {
    const doubts = this.doubts.map(({ file, ...doubt }) =>
      textOf({ ...doubt, ...(file === undefined ? {} : { file: join(folder, file) }) }),
    );
    return [
      ...this.skipped.map(({ file, reason }) => `${join(folder, file)} is skipped: ${reason}`),
      ...doubts.map((words) => `${words}; a key may be revoked`),
    ].map(escapeControlCharacters);
  }

  /**
   * Returns what may revoke the certificate with this primary key and could not be applied: `FILE:
   * reason`.
   */
  doubtsAbout(primary: Fingerprint): readonly string[] {
    const about = this.doubts.filter(({ keys }) => keys === undefined || keys.includes(primary));
    return about.map(textOf).map(escapeControlCharacters);
  }

  /** Returns the keys with this ID (16 hex digits). There may be several: IDs can be forged. */
  candidates(keyId: string): readonly SigningCandidate[] {
    return this.#byKeyId.get(keyId) ?? [];
  }

  /**
   * Returns all keys of the certificate with this primary key; none if it is not in the keyring.
   */
  keysOf(primary: Fingerprint): readonly SigningCandidate[] {
    return this.#byPrimary.get(primary) ?? [];
  }

  /**
   * Returns the primary key of this key, or the fingerprint itself if the keyring does not have the
   * key.
   */
  primaryOf(fingerprint: Fingerprint): Fingerprint {
    return this.#primaries.get(fingerprint) ?? fingerprint;
  }
}

function textOf({ file, reason }: RevocationDoubt): string {
  return file === undefined ? reason : `${file}: ${reason}`;
}

/**
 * Requires that this key may sign now: it is strong, not revoked, not expired, and bound to its
 * certificate. A key that was good when it signed and is no longer good does not count.
 * @throws SignatureRejection
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
      `the ${name} expired on ${expired.toISOString().slice(0, 10)}; if it has been renewed, update the key files`,
    );
  }
  try {
    await withClockTolerance(now, (date) => requireBinding(certificate, key, date));
  } catch (error) {
    throw new SignatureRejection("invalid-key", `the ${name} may not sign: ${(error as Error).message}`);
  }
}

/**
 * Runs a check for now and, if it fails because of a date, for the latest time that another clock
 * may show.
 */
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
 * Requires that the key is bound to its certificate, for signing. If the user IDs of a primary key
 * state no key flags, those of its newest direct-key signature count: its subpackets are about the
 * key as a whole (RFC 9580, section 5.2.3.10).
 * @throws Error
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
 * Returns the primary key of each key. Anyone can copy another's subkey into a certificate of their
 * own. A subkey belongs to the certificate that it has agreed to (RFC 9580, section 5.2.1.8,
 * "Primary Key Binding Signature"), whether or not it is good today.
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
