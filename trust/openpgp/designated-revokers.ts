import { config as defaults, enums, type PublicKey, type SignaturePacket, type Subkey } from "openpgp";
import { directKeySignatures } from "./certificate-merge.ts";
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts";
import { anyHashConfig } from "./openpgp-policy.ts";

/**
 * Returns the keys that the owner of a certificate has allowed to revoke it (RFC 9580, section
 * 5.2.3.23, "Revocation Key"): named in any self-signature that verifies, however old it is and
 * however weak its hash.
 */
export async function findDesignatedRevokers(certificate: PublicKey): Promise<ReadonlySet<Fingerprint>> {
  const { keyPacket: key, users } = certificate;
  const direct = directKeySignatures(certificate).map((signature) => ({
    signature,
    type: enums.signature.key,
    data: { key },
  }));
  const certifications = users.flatMap(({ userID, userAttribute, selfCertifications }) =>
    selfCertifications.map((signature) => ({
      signature,
      type: enums.signature.certGeneric,
      data: userID ? { userID, key } : { userAttribute, key },
    })),
  );
  const revokers = new Set<Fingerprint>();
  for (const { signature, type, data } of [...direct, ...certifications]) {
    const named = namedRevokers(signature);
    if (named.length === 0) continue;
    // openpgp.js supports no revokers, and so refuses any signature that names one. Here they are supported.
    signature.revocationKeyClass = null;
    if (await isValidAtAnyTime(signature, key, type, data))
      for (const revoker of named) revokers.add(revoker);
  }
  return revokers;
}

/** Returns whether a signature is valid, whatever its date, its expiry and its hash. */
export async function isValidAtAnyTime(
  signature: SignaturePacket,
  by: PublicKey["keyPacket"] | Subkey["keyPacket"],
  type: enums.signature,
  over: object,
): Promise<boolean> {
  const config = { ...defaults, ...anyHashConfig };
  return await signature.verify(by, type, over, signature.created ?? undefined, false, config).then(
    () => true,
    () => false,
  );
}

/** The subpacket's type (RFC 9580, section 5.2.3.7, table 5). */
const revocationKey = 12;

/**
 * Returns all revokers that a signature names; openpgp.js keeps only the last. Only hashed
 * subpackets count.
 */
function namedRevokers({ signatureData, version }: SignaturePacket): readonly Fingerprint[] {
  if (signatureData === null) return [];
  const revokers: Fingerprint[] = [];
  // Version, type and two algorithms are followed by the length of the hashed subpackets, in 2 or 4 octets (RFC 9580, section 5.2.3).
  for (let at = version === 6 ? 8 : 6; at < signatureData.length; ) {
    const [length, start] = subpacketLength(signatureData, at);
    const [type = 0, kind = 0] = signatureData.subarray(start, start + 2);
    const isRevoker = (type & 0x7f) === revocationKey && (kind & 0x80) !== 0;
    if (isRevoker && length === 23) {
      const fingerprint = signatureData.subarray(start + 3, start + 23);
      revokers.push(parseFingerprint(Buffer.from(fingerprint).toString("hex")));
    }
    at = start + Math.max(1, length);
  }
  return revokers;
}

/** Returns the length of a subpacket, type included, and its start (RFC 9580, section 5.2.3.7). */
function subpacketLength(data: Uint8Array, at: number): readonly [length: number, start: number] {
  const [first = 0, second = 0] = data.subarray(at, at + 2);
  if (first < 192) return [first, at + 1];
  if (first < 255) return [((first - 192) << 8) + second + 192, at + 2];
  return [Buffer.from(data).readUInt32BE(at + 1), at + 5];
}
