import { enums, type PublicKey, SignaturePacket, type Subkey } from "openpgp";
import { findDesignatedRevokers, isValidAtAnyTime } from "./designated-revokers.ts";
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts";

/** Something among the key files that may revoke keys and can't be applied. */
export type RevocationDoubt = {
  /**
   * The file, below the folder of keys; absent if it is in a certificate, which may be merged from
   * several files.
   */
  readonly file?: string;
  readonly reason: string;
  /** The primary keys that it may revoke; absent if it may revoke any. */
  readonly keys?: readonly Fingerprint[];
};

/**
 * A revocation of a primary key that stands alone in a file, or behind a key that it may not be
 * for.
 */
export type StandaloneRevocation = {
  readonly file: string;
  readonly signature: SignaturePacket;
  /** The primary key before it in the file. */
  readonly precedingKey?: Fingerprint;
};

/** A revocation that may be for another certificate than the one that it was found in. */
type StrayRevocation = Omit<StandaloneRevocation, "file"> & {
  readonly file?: string;
  readonly type: enums.signature;
  /** The key that it was found at. */
  readonly place?: Target;
};

/** A key that may be revoked, and the data that its revocation signs. */
type Target = { readonly primary: Fingerprint; readonly key: Fingerprint; readonly over: object };

/** The most designated revokers of a certificate: each revocation is tried with each of them. */
const maxRevokers = 20;

/** The most pairs of a revocation and a revoker to try, at half a millisecond each. */
const maxTries = 10_000;

/** The revocations of all certificates. */
export type Revocations = {
  /**
   * How each revoked key is revoked, by {@link certificateKey}: `revoked`, `revoked by its
   * designated revoker …`.
   */
  readonly revoked: ReadonlyMap<string, string>;
  readonly doubts: readonly RevocationDoubt[];
};

type Certificates = ReadonlyMap<Fingerprint, PublicKey>;
type AnyKey = PublicKey | Subkey;

/**
 * Identifies a key in a certificate. Anyone can copy a subkey into their own certificate, and
 * revoke it there.
 */
export function certificateKey(primary: Fingerprint, key: Fingerprint): string {
  return `${primary}/${key}`;
}

/**
 * Finds the keys that are revoked, by their own primary key or by its designated revoker. A
 * revocation counts whatever its date and its hash, and even if its revoker has been revoked or has
 * expired since, as in gpg (sig-check.c, check_revocation_keys).
 */
export async function findRevocations(
  certificates: Certificates,
  alone: readonly StandaloneRevocation[],
): Promise<Revocations> {
  const revokers = new Map<Fingerprint, readonly Fingerprint[]>();
  const doubts: RevocationDoubt[] = [];
  for (const [primary, certificate] of certificates) {
    const named = [...(await findDesignatedRevokers(certificate))];
    if (named.length > maxRevokers)
      doubts.push({
        reason: `${primary} names ${named.length} designated revokers; ${maxRevokers} are heeded`,
        keys: [primary],
      });
    revokers.set(primary, [primary, ...named.slice(0, maxRevokers)]);
  }
  const finder = new RevocationFinder(certificates, revokers, doubts);
  for (const [primary, certificate] of certificates) await finder.lookInto(primary, certificate);
  await finder.applyStrays();
  for (const one of alone) await finder.apply({ ...one, type: enums.signature.keyRevocation });
  return finder;
}

class RevocationFinder implements Revocations {
  readonly revoked = new Map<string, string>();
  readonly doubts: RevocationDoubt[];
  /** The primary key itself and its designated revokers, by primary key. */
  readonly #revokers: ReadonlyMap<Fingerprint, readonly Fingerprint[]>;
  readonly #keys: ReadonlyMap<Fingerprint, AnyKey>;
  /** Keys, and the primary keys that they may revoke, by the names in signatures. */
  readonly #named = new Map<string, AnyKey[]>();
  readonly #claimants = new Map<string, Set<Fingerprint>>();
  readonly #primaries: readonly Target[];
  readonly #subkeys: readonly Target[];
  readonly #strays: StrayRevocation[] = [];
  #triesLeft = maxTries;

  constructor(
    certificates: Certificates,
    revokers: ReadonlyMap<Fingerprint, readonly Fingerprint[]>,
    doubts: RevocationDoubt[],
  ) {
    this.doubts = doubts;
    this.#revokers = revokers;
    const keys = [...certificates.values()].flatMap((certificate): AnyKey[] => certificate.getKeys());
    this.#keys = new Map(keys.map((key) => [fingerprintOf(key), key]));
    for (const [fingerprint, key] of this.#keys)
      for (const name of namesOf(fingerprint)) this.#named.set(name, [...(this.#named.get(name) ?? []), key]);
    for (const [primary, all] of revokers)
      for (const name of all.flatMap(namesOf))
        this.#claimants.set(name, (this.#claimants.get(name) ?? new Set()).add(primary));
    this.#primaries = [...certificates].map(([primary, { keyPacket }]) => targetOf(primary, keyPacket));
    this.#subkeys = [...certificates].flatMap(([primary, { keyPacket, subkeys }]) =>
      subkeys.map((subkey) => targetOf(primary, keyPacket, subkey)),
    );
  }

  /**
   * Applies the revocations in a certificate, and keeps those that may be for another for {@link
   * applyStrays}.
   */
  async lookInto(
    primary: Fingerprint,
    { keyPacket, revocationSignatures, subkeys }: PublicKey,
  ): Promise<void> {
    const { keyRevocation, subkeyRevocation } = enums.signature;
    const place = targetOf(primary, keyPacket);
    const found = [
      ...revocationSignatures.map((signature) => ({ signature, type: keyRevocation, place })),
      ...subkeys.flatMap((subkey) =>
        subkey.revocationSignatures.map((signature) => ({
          ...{ signature, type: subkeyRevocation, place: targetOf(primary, keyPacket, subkey) },
        })),
      ),
    ];
    for (const one of found) {
      if (!(await this.#applies(one.signature, one.type, one.place)))
        this.#strays.push({ ...one, precedingKey: primary });
    }
  }

  /**
   * Applies revocations that are not valid for the certificate they were found in. Such a
   * revocation may be for another certificate that stood behind this one in a file; or it is
   * damaged, or its revoker's key is missing, or a stranger has appended it.
   */
  async applyStrays(): Promise<void> {
    for (const stray of this.#strays) await this.apply(stray);
  }

  /**
   * Applies a revocation. It names its issuer, but not the key that it revokes: that is found by
   * trying.
   */
  async apply({ file, signature, type, precedingKey, place }: StrayRevocation): Promise<void> {
    const isKeys = type === enums.signature.keyRevocation;
    const issuer = issuerNameOf(signature);
    const claimants = this.#claimants.get(issuer) ?? new Set();
    const targets = isKeys ? this.#primaries : this.#subkeys;
    // Likely targets first, since the number of tries is bounded.
    for (const isLikely of [true, false])
      for (const target of this.#triesLeft > 0 ? targets : [])
        if (claimants.has(target.primary) === isLikely && (await this.#applies(signature, type, target)))
          return;
    if (place !== undefined && (await this.#isStrangers(signature, type, place))) return;
    let why =
      "whose key is missing; put it among the keys, or remove the revocation if it concerns no one in the roster";
    if (this.#named.has(issuer)) why = "which is not valid; fetch it again";
    if (this.#triesLeft <= 0) why = "among more revocations than are tried; remove those that are of no use";
    const where =
      precedingKey === undefined ? "it is a revocation" : `in or behind ${precedingKey} is a revocation`;
    const keys = precedingKey === undefined ? claimants : new Set([precedingKey, ...claimants]);
    this.doubts.push({
      ...(file === undefined ? {} : { file }),
      reason: `${where} by ${issuerOf(signature)}, ${why}`,
      ...(keys.size > 0 ? { keys: [...keys] } : {}),
    });
  }

  /**
   * Tries all keys that may revoke the certificate, not only the one that is named: the name is not
   * signed, and may be damaged.
   */
  async #applies(signature: SignaturePacket, type: enums.signature, target: Target): Promise<boolean> {
    for (const revoker of this.#revokers.get(target.primary) ?? []) {
      const key = this.#keys.get(revoker);
      if (key === undefined || !(await this.#holds(signature, key, type, target))) continue;
      const how = revoker === target.primary ? "revoked" : `revoked by its designated revoker ${revoker}`;
      this.revoked.set(certificateKey(target.primary, target.key), how);
      return true;
    }
    return false;
  }

  /**
   * Returns whether a known key made it that has no right to revoke: anyone can append such a
   * revocation.
   */
  async #isStrangers(signature: SignaturePacket, type: enums.signature, place: Target): Promise<boolean> {
    for (const key of this.#named.get(issuerNameOf(signature)) ?? [])
      if (await this.#holds(signature, key, type, place)) return true;
    return false;
  }

  async #holds(
    signature: SignaturePacket,
    by: AnyKey,
    type: enums.signature,
    { over }: Target,
  ): Promise<boolean> {
    if (this.#triesLeft <= 0) return false;
    this.#triesLeft--;
    return await isValidAtAnyTime(copyAs(by, signature), by.keyPacket, type, over);
  }
}

function targetOf(primary: Fingerprint, key: PublicKey["keyPacket"], subkey?: Subkey): Target {
  return subkey === undefined
    ? { primary, key: primary, over: { key } }
    : { primary, key: fingerprintOf(subkey), over: { key, bind: subkey.keyPacket } };
}

/**
 * Copies a signature for each try: openpgp.js caches that a signature is valid, but not for which
 * data and key.
 */
function copyAs(key: AnyKey, signature: SignaturePacket): SignaturePacket {
  const copy = new SignaturePacket();
  copy.read(signature.write());
  copy.issuerKeyID = key.getKeyID();
  return copy;
}

/** Returns the names of a key in signatures: its fingerprint, and its key ID. */
function namesOf(fingerprint: Fingerprint): readonly string[] {
  // A key ID is the end of a version 4 fingerprint, and the start of a version 6 one (RFC 9580, section 5.5.4).
  return [fingerprint, fingerprint.length === 40 ? fingerprint.slice(-16) : fingerprint.slice(0, 16)];
}

function issuerNameOf({ issuerFingerprint, issuerKeyID }: SignaturePacket): string {
  return issuerFingerprint !== null ? hexOf(issuerFingerprint) : issuerKeyID.toHex().toUpperCase();
}

function issuerOf(signature: SignaturePacket): string {
  const name = issuerNameOf(signature);
  return signature.issuerFingerprint !== null ? name : `the key with ID ${name}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}

/** Returns the fingerprint of a certificate's primary key, or of a subkey. */
export function fingerprintOf(key: AnyKey): Fingerprint {
  return parseFingerprint(key.getFingerprint());
}
