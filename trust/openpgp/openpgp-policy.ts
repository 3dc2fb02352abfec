import { enums, type PartialConfig } from "openpgp";

/** In bytes, of a signature file and of what is packed in it alike. Real ones have under two thousand. */
export const maxMessageSize = 1024 * 1024;

/** RSA keys with fewer bits are too weak (NIST SP 800-131A, revision 2). */
export const minRsaBits = 2048;

/**
 * In milliseconds, how far ahead of this clock a signature or a key may be dated: clocks of people who sign differ by seconds. Sequoia
 * allows 30 minutes. Expiry is held against this clock alone.
 */
export const clockTolerance = 5 * 60 * 1000;

/** The curves of ECDSA keys that count; openpgp.js verifies no others with Node's cryptography alone. */
export const supportedCurves: ReadonlySet<string | undefined> = new Set([
  enums.curve.nistP256,
  enums.curve.nistP384,
  enums.curve.nistP521,
]);

const weakHashes = new Set([enums.hash.md5, enums.hash.sha1, enums.hash.ripemd]);

/** What openpgp.js is to hold to wherever it verifies: messages, self-signatures and bindings alike. */
export const strictConfig = {
  minRSABits: minRsaBits,
  maxDecompressedMessageSize: maxMessageSize,
  rejectHashAlgorithms: weakHashes,
  rejectMessageHashAlgorithms: weakHashes,
  rejectPublicKeyAlgorithms: new Set([enums.publicKey.elgamal, enums.publicKey.dsa]),
  rejectCurves: new Set([enums.curve.secp256k1]),
  enforceGrammar: true,
  // A certificate that was exported with its newest self-signature only ("clean") has none of the time of an older signature. What
  // decides is whether it holds now, and that is asked of the key before any signature of it is looked at.
  allowInsecureVerificationWithReformattedKeys: true,
} satisfies PartialConfig;

/** For revocations: one that was made with a weak hash still revokes. Strictness here would let a revoked key sign on. */
export const anyHashConfig = {
  ...strictConfig,
  rejectHashAlgorithms: new Set<enums.hash>(),
} satisfies PartialConfig;
