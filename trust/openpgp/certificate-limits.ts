import type { PublicKey } from "openpgp";
import { directKeySignatures } from "./certificate-merge.ts";
import type { Fingerprint } from "./fingerprint.ts";
import type { RevocationDoubt } from "./revocations.ts";

/**
 * Bounds of one certificate. openpgp.js reads all subkeys for each subkey, and all self-signatures
 * for each message. Keys in use for decades have tens of each. Certifications by others are
 * ignored, and may be thousands.
 */
const maxSubkeys = 100;
const maxUsers = 100;
const maxOwnSignatures = 300;

/**
 * Drops the certificates with too many parts. Each becomes a doubt: it may be revoked, or have
 * another key's revocation in it.
 */
export function dropOversizedCertificates(all: ReadonlyMap<Fingerprint, PublicKey>): {
  readonly certificates: ReadonlyMap<Fingerprint, PublicKey>;
  readonly doubts: readonly RevocationDoubt[];
} {
  const certificates = new Map<Fingerprint, PublicKey>();
  const doubts: RevocationDoubt[] = [];
  for (const [primary, certificate] of all) {
    const excess = excessOf(certificate);
    if (excess === undefined) certificates.set(primary, certificate);
    else {
      const reason = `the certificate of ${primary} has ${excess}; fetch it again, or export it with gpg --export-options export-clean`;
      doubts.push({ reason, ...(holdsAnothers(certificate) ? {} : { keys: [primary] }) });
    }
  }
  return { certificates, doubts };
}

function excessOf(certificate: PublicKey): string | undefined {
  const { revocationSignatures, subkeys, users } = certificate;
  if (subkeys.length > maxSubkeys)
    return `${subkeys.length} subkeys, more than the ${maxSubkeys} that are read`;
  if (users.length > maxUsers) return `${users.length} user IDs, more than the ${maxUsers} that are read`;
  const lists = [
    revocationSignatures,
    directKeySignatures(certificate),
    ...users.flatMap((user) => [user.selfCertifications, user.revocationSignatures]),
    ...subkeys.flatMap((subkey) => [subkey.bindingSignatures, subkey.revocationSignatures]),
  ];
  const own = lists.reduce((sum, list) => sum + list.length, 0);
  return own > maxOwnSignatures
    ? `${own} signatures about itself, more than the ${maxOwnSignatures} that are read`
    : undefined;
}

/**
 * Returns whether a revocation in it names another issuer: it may belong to a certificate that
 * stood behind it in a file.
 */
function holdsAnothers(certificate: PublicKey): boolean {
  const own = certificate.getKeyID();
  const lists = [certificate, ...certificate.subkeys].map((key) => key.revocationSignatures);
  return lists.some((list) => list.some(({ issuerKeyID }) => !issuerKeyID.equals(own)));
}
