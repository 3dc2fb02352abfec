import { enums, type PublicKey, SignaturePacket, type Subkey } from "openpgp";
import { designatedRevokers, holdsAtAll } from "./designated-revokers.ts";
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts";

/** Something among the keys that may revoke some of them and can't be applied. */
export type Doubt = {
  /** The file, below the folder of keys; nothing where it is in a certificate, whichever file that came from. */
  readonly file?: string;
  readonly reason: string;
  /** The primary keys that it may revoke; nothing where it may be any. */
  readonly keys?: readonly Fingerprint[];
};

/** A revocation that stands alone in a file. */
export type LoneRevocation = { readonly file: string; readonly signature: SignaturePacket };

/** What the certificates and the revocations beside them come to. */
export type Revocations = {
  /** For each key that is revoked, {@link keyIn} its certificate: `revoked`, `revoked by its designated revoker …`. */
  readonly revoked: ReadonlyMap<string, string>;
  readonly doubts: readonly Doubt[];
};

type Certificates = ReadonlyMap<Fingerprint, PublicKey>;
type AnyKey = PublicKey | Subkey;

/** Names a key of a certificate. Anybody can put a copy of a subkey into a certificate of theirs, and revoke it there. */
export function keyIn(primary: Fingerprint, key: Fingerprint): string {
  return `${primary}/${key}`;
}

/**
 * Finds which keys are revoked, by their own primary key or by a revoker that it has designated. A revocation counts whatever its date
 * and its hash, and also where its revoker has been revoked or has expired since, as gpg has it (sig-check.c, check_revocation_keys).
 */
export async function findRevocations(
  certificates: Certificates,
  alone: readonly LoneRevocation[],
): Promise<Revocations> {
  const revokers = new Map<Fingerprint, readonly Fingerprint[]>();
  for (const [primary, certificate] of certificates)
    revokers.set(primary, [primary, ...(await designatedRevokers(certificate))]);
  const finder = new Finder(certificates, revokers);
  for (const [primary, certificate] of certificates) await finder.lookInto(primary, certificate);
  for (const one of alone) await finder.apply(one);
  return finder;
}

class Finder implements Revocations {
  readonly revoked = new Map<string, string>();
  readonly doubts: Doubt[] = [];
  readonly #certificates: Certificates;
  /** By primary key: itself and its designated revokers. */
  readonly #revokers: ReadonlyMap<Fingerprint, readonly Fingerprint[]>;
  readonly #keys: ReadonlyMap<Fingerprint, AnyKey>;

  constructor(certificates: Certificates, revokers: ReadonlyMap<Fingerprint, readonly Fingerprint[]>) {
    this.#certificates = certificates;
    this.#revokers = revokers;
    const keys = [...certificates.values()].flatMap((certificate): AnyKey[] => certificate.getKeys());
    this.#keys = new Map(keys.map((key) => [fingerprintOf(key), key]));
  }

  /** Heeds the revocations in a certificate. Those of strangers mean nothing: anybody can append them. */
  async lookInto(
    primary: Fingerprint,
    { keyPacket, revocationSignatures, subkeys }: PublicKey,
  ): Promise<void> {
    const { keyRevocation, subkeyRevocation } = enums.signature;
    const found = [
      ...revocationSignatures.map((signature) => ({
        signature,
        key: primary,
        type: keyRevocation,
        over: {},
      })),
      ...subkeys.flatMap((subkey) =>
        subkey.revocationSignatures.map((signature) => ({
          ...{ signature, key: fingerprintOf(subkey), type: subkeyRevocation },
          over: { bind: subkey.keyPacket },
        })),
      ),
    ];
    for (const { signature, key, type, over } of found) {
      if (await this.#applies(signature, primary, key, type, { key: keyPacket, ...over })) continue;
      const issuer = this.#claimedIssuer(signature, primary);
      if (issuer === undefined) continue;
      const reason = this.#keys.has(issuer)
        ? `there is a revocation of ${primary} that does not verify; get its certificate anew`
        : `${primary} may be revoked by its designated revoker ${issuer}, whose key is missing; put it among the keys`;
      this.doubts.push({ reason, keys: [primary] });
    }
  }

  /** Applies one that stands alone. It names who made it, and not the key that it revokes: that is found by trying. */
  async apply({ file, signature }: LoneRevocation): Promise<void> {
    for (const [primary, { keyPacket }] of this.#certificates) {
      const { keyRevocation } = enums.signature;
      if (await this.#applies(signature, primary, primary, keyRevocation, { key: keyPacket })) return;
    }
    const targets = [...this.#certificates.keys()].filter(
      (primary) => this.#claimedIssuer(signature, primary) !== undefined,
    );
    const isAtHand = targets.some((primary) =>
      this.#keys.has(this.#claimedIssuer(signature, primary) ?? primary),
    );
    const why = isAtHand
      ? "which does not verify; get it anew"
      : "whose key is missing; put it among the keys, or take the file away if it is about nobody in the roster";
    const reason = `it is a revocation by ${issuerOf(signature)}, ${why}`;
    this.doubts.push({ file, reason, ...(targets.length > 0 ? { keys: targets } : {}) });
  }

  /** Tries all who may revoke the certificate, and not only who is named: the name is not signed, and may be damaged. */
  async #applies(
    signature: SignaturePacket,
    primary: Fingerprint,
    target: Fingerprint,
    type: enums.signature,
    over: object,
  ): Promise<boolean> {
    for (const revoker of this.#revokers.get(primary) ?? []) {
      const key = this.#keys.get(revoker);
      if (key === undefined || !(await holdsAtAll(asBy(key, signature), key.keyPacket, type, over))) continue;
      const how = revoker === primary ? "revoked" : `revoked by its designated revoker ${revoker}`;
      this.revoked.set(keyIn(primary, target), how);
      return true;
    }
    return false;
  }

  #claimedIssuer(signature: SignaturePacket, primary: Fingerprint): Fingerprint | undefined {
    return this.#revokers.get(primary)?.find((revoker) => names(signature, revoker));
  }
}

/** openpgp.js remembers that a signature has verified, and not over what or by whom: each try has a copy of its own. */
function asBy(key: AnyKey, signature: SignaturePacket): SignaturePacket {
  const copy = new SignaturePacket();
  copy.read(signature.write());
  copy.issuerKeyID = key.getKeyID();
  return copy;
}

function names(signature: SignaturePacket, fingerprint: Fingerprint): boolean {
  const { issuerFingerprint, issuerKeyID } = signature;
  if (issuerFingerprint !== null) return hexOf(issuerFingerprint) === fingerprint;
  // A key ID is the end of a version 4 fingerprint, and the start of a version 6 one (RFC 9580, section 5.5.4).
  const keyId = issuerKeyID.toHex().toUpperCase();
  return fingerprint.length === 40 ? fingerprint.endsWith(keyId) : fingerprint.startsWith(keyId);
}

function issuerOf({ issuerFingerprint, issuerKeyID }: SignaturePacket): string {
  if (issuerFingerprint !== null) return hexOf(issuerFingerprint);
  return `the key with ID ${issuerKeyID.toHex().toUpperCase()}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}

/** The fingerprint of a certificate's primary key, or of a subkey. */
export function fingerprintOf(key: AnyKey): Fingerprint {
  return parseFingerprint(key.getFingerprint());
}
