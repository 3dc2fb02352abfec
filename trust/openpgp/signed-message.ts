import {
  type AnyPacket,
  CompressedDataPacket,
  enums,
  LiteralDataPacket,
  type Message,
  OnePassSignaturePacket,
  readMessage,
  SignaturePacket,
  verify,
} from "openpgp";
import type { Fingerprint } from "./fingerprint.ts";
import { type Keyring, requireSigningKey, type SigningCandidate, withClockTolerance } from "./keyring.ts";
import { clockTolerance, maxMessageSize, strictConfig } from "./openpgp-policy.ts";
import { requireFewPackets } from "./packet-limits.ts";
import { quoteUntrusted, SignatureRejection } from "./signature-rejection.ts";

/** A message with a valid signature. */
export type VerifiedMessage = {
  /** The signed content. */
  readonly content: Uint8Array;
  /** The primary key of the certificate: signers are counted by it. */
  readonly fingerprint: Fingerprint;
  /** The key that made the signature, the primary or a subkey of it. */
  readonly signingKey: Fingerprint;
  /** The time of the signature, by the signer's clock. */
  readonly created: Date;
  /** The time from which the signature no longer counts; absent if it does not expire. */
  readonly expires?: Date;
};

/**
 * Verifies a binary opaque OpenPGP message: one signature around one binary literal, compressed or
 * not (RFC 9580, section 10.3), as `gpg --sign` writes it and podman reads it. Every other form is
 * rejected, even with a valid signature.
 * @param now the time at which keys and signatures must be good: it is not enough that they were
 * when the signature was made
 * @throws SignatureRejection
 */
export async function verifySignedMessage(
  bytes: Uint8Array,
  keyring: Keyring,
  now = new Date(),
): Promise<VerifiedMessage> {
  requireBinary(bytes);
  const message = await parseMessage(bytes);
  const { signature, literal } = splitMessage(message, await readPackets(message));
  requireAcceptable(signature, now);
  const candidates = keyring.candidates(signature.issuerKeyID.toHex());
  if (candidates.length === 0) {
    throw new SignatureRejection(
      "unknown-key",
      `signed by a key that is not among the keys: ${issuerOf(signature)}`,
    );
  }
  let rejection: unknown;
  for (const candidate of candidates) {
    try {
      await requireValid(message, signature, candidate, now);
      const { primary, fingerprint } = candidate;
      const expires = signature.getExpirationTime();
      return {
        content: literal,
        fingerprint: primary,
        signingKey: fingerprint,
        created: createdAt(signature),
        ...(expires instanceof Date ? { expires } : {}),
      };
    } catch (error) {
      rejection = error;
    }
  }
  throw rejection;
}

function requireBinary(bytes: Uint8Array): void {
  if (bytes.length > maxMessageSize) {
    throw new SignatureRejection(
      "too-large",
      `${bytes.length} bytes; no signature has more than ${maxMessageSize}`,
    );
  }
  if (((bytes[0] ?? 0) & 0x80) !== 0) return;
  const start = Buffer.from(bytes.subarray(0, 1000)).toString("utf8").trimStart();
  if (start.startsWith("-----BEGIN PGP SIGNED MESSAGE-----")) {
    throw new SignatureRejection("cleartext", "a cleartext-signed message; sign with gpg --sign --no-armor");
  }
  if (start.startsWith("-----BEGIN PGP ")) {
    throw new SignatureRejection(
      "armored",
      "an armored message, which podman does not read; sign with gpg --no-armor",
    );
  }
  const what = start === "" ? "there is nothing in it" : "it does not begin with a packet";
  throw new SignatureRejection("not-openpgp", `not an OpenPGP message: ${what}`);
}

async function parseMessage(bytes: Uint8Array): Promise<Message<Uint8Array>> {
  const maxUnpacked = requireFewPackets(bytes);
  try {
    const config = { ...strictConfig, maxDecompressedMessageSize: maxUnpacked };
    return await readMessage({ binaryMessage: bytes, config });
  } catch (error) {
    throw malformed(error, maxUnpacked);
  }
}

function malformed(error: unknown, maxUnpacked = maxMessageSize): SignatureRejection {
  const reason = (error as Error).message;
  return /decompressed (?:message )?size exceeded|output size/i.test(reason)
    ? new SignatureRejection("decompressed-too-large", `it unpacks to more than ${maxUnpacked} bytes`)
    : new SignatureRejection(
        "malformed",
        `not a whole OpenPGP message: ${quoteUntrusted(reason).slice(1, -1)}`,
      );
}

/**
 * Reads all packets of the message, or of the message compressed in it. openpgp.js stops after the
 * literal and leaves the rest in a stream that its types omit. All packets must be known before any
 * is believed.
 */
async function readPackets(message: Message<Uint8Array>): Promise<readonly AnyPacket[]> {
  const isPacked = message.packets[0] instanceof CompressedDataPacket;
  const { packets } = isPacked ? message.unwrapCompressed() : message;
  try {
    await readRest(message.packets);
    await readRest(packets);
  } catch (error) {
    throw malformed(error);
  }
  if (isPacked && message.packets.length > 1) {
    throw new SignatureRejection("message-shape", "there is more in the message than what is packed in it");
  }
  return packets;
}

async function readRest(packets: Message<Uint8Array>["packets"]): Promise<void> {
  const rest = Reflect.get(packets, "stream") as ReadableStream<AnyPacket> | null;
  if (rest === null) return;
  const reader = rest.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    packets.push(value);
  }
  Reflect.set(packets, "stream", null);
}

/**
 * Returns the one signature and the one literal. Rejects every other arrangement of packets (RFC
 * 9580, section 10.3).
 */
function splitMessage(
  message: Message<Uint8Array>,
  packets: readonly AnyPacket[],
): { signature: SignaturePacket; literal: Uint8Array } {
  const signatures = packets.filter((packet) => tagOf(packet) === enums.packet.signature);
  const literals = packets.filter((packet) => packet instanceof LiteralDataPacket);
  if (literals.length === 0 && signatures.length > 0) {
    throw new SignatureRejection(
      "detached",
      "a detached signature; what was signed must be inside: gpg --sign",
    );
  }
  if (literals.length > 0 && signatures.length === 0) {
    throw new SignatureRejection("unsigned", "a message without a signature");
  }
  if (signatures.length > 1) {
    throw new SignatureRejection(
      "several-signatures",
      `${signatures.length} signatures in one message; one file is one signature`,
    );
  }
  const [signature] = signatures;
  if (signature !== undefined && !(signature instanceof SignaturePacket))
    throw unsupportedSignature(signature);
  const [onePass, literal, last, ...others] = packets;
  const isOpaque =
    onePass instanceof OnePassSignaturePacket &&
    literal instanceof LiteralDataPacket &&
    last instanceof SignaturePacket &&
    others.length === 0;
  if (!isOpaque) {
    const tags = packets.map(tagOf).join(", ");
    throw new SignatureRejection(
      "message-shape",
      `packets ${tags || "none"} (expected ${[enums.packet.onePassSignature, enums.packet.literalData, enums.packet.signature].join(", ")}: one signature around one literal)`,
    );
  }
  requireMatchingOnePass(onePass, last);
  requireBinaryLiteral(literal);
  const content = message.getLiteralData();
  if (content === null) throw new SignatureRejection("message-shape", "there is nothing in the literal");
  return { signature: last, literal: content };
}

/**
 * Explains a signature that openpgp.js could not parse, by its version and algorithm (RFC 9580,
 * section 5.2.3).
 */
function unsupportedSignature(signature: AnyPacket): SignatureRejection {
  const [version = 0, , algorithm = 0] = signature.write();
  const isKnown = version === 4 || version === 6;
  return isKnown
    ? new SignatureRejection(
        "unsupported-key",
        `signed by a key with algorithm ${algorithm}, which is not supported`,
      )
    : new SignatureRejection(
        "signature-version",
        `a version ${version} signature, which is too old or unknown`,
      );
}

/**
 * Other readers hash as the one-pass packet announces (RFC 9580, section 5.4). If it differed from
 * the signature, they and we would disagree.
 */
function requireMatchingOnePass(onePass: OnePassSignaturePacket, signature: SignaturePacket): void {
  const agree = (["signatureType", "hashAlgorithm", "publicKeyAlgorithm"] as const).every(
    (name) => Reflect.get(onePass, name) === signature[name],
  );
  const issuer: unknown = Reflect.get(onePass, "issuerKeyID");
  if (agree && Reflect.get(Object(issuer), "bytes") === signature.issuerKeyID.bytes) return;
  throw new SignatureRejection(
    "message-shape",
    "the one-pass packet announces another signature than there is",
  );
}

function requireBinaryLiteral(literal: LiteralDataPacket): void {
  // openpgp.js has the format (RFC 9580, section 5.9) in a member that its types leave out.
  if (Reflect.get(literal, "format") === enums.literal.binary) return;
  throw new SignatureRejection(
    "text-mode",
    "the literal is text, whose line ends may be changed; sign without --textmode",
  );
}

function requireAcceptable(signature: SignaturePacket, now: Date): void {
  if (signature.version < 4) {
    throw new SignatureRejection(
      "signature-version",
      `a version ${signature.version} signature; 4 is the oldest that counts`,
    );
  }
  if (signature.signatureType !== enums.signature.binary) {
    const what =
      signature.signatureType === enums.signature.text ? "of text" : `of type ${signature.signatureType}`;
    throw new SignatureRejection(
      "text-mode",
      `a signature ${what}; only one over binary data counts: sign without --textmode`,
    );
  }
  const { hashAlgorithm } = signature;
  if (hashAlgorithm === null || strictConfig.rejectMessageHashAlgorithms.has(hashAlgorithm)) {
    const name = hashAlgorithm === null ? "none" : (enums.hash[hashAlgorithm] ?? hashAlgorithm);
    throw new SignatureRejection(
      "weak-hash",
      `signed over a weak hash (${name}); use gpg --digest-algo SHA512`,
    );
  }
  const created = createdAt(signature);
  if (created.getTime() > now.getTime() + clockTolerance) {
    throw new SignatureRejection(
      "future-signature",
      `made in the future, ${created.toISOString()}: more than ${clockTolerance / 60_000} minutes ahead of this clock; is a clock wrong?`,
    );
  }
  const expiry = signature.getExpirationTime();
  if (expiry instanceof Date && expiry <= now) {
    throw new SignatureRejection("expired-signature", `the signature expired on ${expiry.toISOString()}`);
  }
}

async function requireValid(
  message: Message<Uint8Array>,
  signature: SignaturePacket,
  candidate: SigningCandidate,
  now: Date,
): Promise<void> {
  await requireSigningKey(candidate, now);
  if (createdAt(signature) < candidate.key.getCreationTime()) {
    throw new SignatureRejection(
      "bad-signature",
      `the signature is older than the key ${candidate.fingerprint}`,
    );
  }
  try {
    const outcomes = await withClockTolerance(now, async (date) => {
      const { signatures } = await verify({
        message,
        verificationKeys: candidate.certificate,
        format: "binary",
        date,
        // The flags of a primary key are checked already: they may be where openpgp.js does not look.
        config: { ...strictConfig, allowMissingKeyFlags: candidate.key === candidate.certificate },
      });
      // verify() itself resolves even if signatures are invalid.
      return await Promise.all(signatures.map(({ verified }) => verified));
    });
    if (outcomes.length === 1 && outcomes[0] === true) return;
  } catch (error) {
    const reason = (error as Error).message;
    const code = /key is expired/i.test(reason) ? "expired-key" : "bad-signature";
    throw new SignatureRejection(
      code,
      `the signature does not hold: ${reason} (key ${candidate.fingerprint})`,
    );
  }
  throw new SignatureRejection("bad-signature", "the signature does not hold");
}

function createdAt({ created }: SignaturePacket): Date {
  if (created === null)
    throw new SignatureRejection("malformed", "the signature does not say when it was made");
  return created;
}

function issuerOf(signature: SignaturePacket): string {
  const { issuerFingerprint } = signature;
  return issuerFingerprint === null
    ? `key ID ${signature.issuerKeyID.toHex().toUpperCase()}`
    : Buffer.from(issuerFingerprint).toString("hex").toUpperCase();
}

function tagOf(packet: AnyPacket): number {
  const own: unknown = Reflect.get(packet, "tag");
  return typeof own === "number" ? own : Number(Reflect.get(packet.constructor, "tag"));
}
