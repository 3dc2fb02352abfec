import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A key and the certificate of its public half, both PEM (PKCS #8 and RFC 7468). */
export type KeyAndCertificate = { readonly key: string; readonly certificate: string };

/** The side of a connection that a certificate is for: the builder (server) or its client. */
export type ConnectionSide = "server" | "client";

/** The contents of a certificate. */
export type CertificateSubject = {
  /** A name for people. */
  readonly commonName: string;
  /** DNS names and IP addresses of a server. */
  readonly names: readonly string[];
  readonly side: ConnectionSide;
  readonly days: number;
};

/** Accepted by Go's TLS, hence by buildkitd and buildctl. */
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const day = 24 * 60 * 60 * 1000;
/** The builders' clocks may be behind this one. */
const clockSkew = 5 * 60 * 1000;

/**
 * Creates an authority that may issue certificates for servers and clients, but not for further
 * authorities (RFC 5280, 4.2.1.9).
 */
export async function createAuthority(commonName: string, days: number): Promise<KeyAndCertificate> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...validityPeriod(days),
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await exportKey(keys.privateKey), certificate: certificateText(certificate) };
}

/**
 * Creates a key, and issues a certificate for it that is valid for one side of a connection and not
 * for the other.
 */
export async function issueCertificate(
  authority: KeyAndCertificate,
  subject: CertificateSubject,
): Promise<KeyAndCertificate> {
  const issuer = new X509Certificate(authority.certificate);
  const signingKey = await parsePrivateKey(authority.key);
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.create({
    ...validityPeriod(subject.days),
    subject: [{ CN: [subject.commonName] }],
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage[`${subject.side}Auth`]], true),
      ...subjectAlternativeNames(subject.names),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { key: await exportKey(keys.privateKey), certificate: certificateText(certificate) };
}

function subjectAlternativeNames(names: readonly string[]): Extension[] {
  if (names.length === 0) return [];
  const typed = names.map((value) => ({ type: isAddress(value) ? "ip" : "dns", value }) as const);
  return [new SubjectAlternativeNameExtension(typed)];
}

function isAddress(name: string): boolean {
  return /^[\d.]+$/.test(name) || name.includes(":");
}

function validityPeriod(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - clockSkew), notAfter: new Date(now + days * day) };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function parsePrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [encoded] = PemConverter.decode(pem);
  if (encoded === undefined) throw new Error("the authority's key is no PEM text");
  return await webcrypto.subtle.importKey("pkcs8", encoded, algorithm, false, ["sign"]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

function certificateText(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
