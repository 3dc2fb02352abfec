import { enums, type PartialConfig } from "openpgp";

/*
 * The algorithms, sizes and dates that are refused. The README of this folder lists the other checks.
 *
 *   refused                                reason (section of RFC 9580)                          where it is checked
 *   hashes MD5, SHA-1, RIPEMD-160          collisions (9.5)                                      here, for openpgp.js; messages
 *   algorithms DSA, Elgamal                deprecated (9.1)                                      here, for openpgp.js; keys
 *   curve secp256k1                        not in RFC 9580 (9.2)                                 here, for openpgp.js; keys
 *   other curves for ECDSA                 openpgp.js needs more than Node's cryptography        keys
 *   RSA under 2048 bits                    NIST SP 800-131A, revision 2                          here, for openpgp.js; keys
 *   signatures of version 3 and unknown    obsolete (5.2.2)                                      messages
 *   signatures of text, literals of text   line ends may change (5.2.4, 5.9)                     messages
 *   signatures and keys from the future    more than 5 minutes ahead of this clock               messages, keys
 *   signatures and keys that have expired  even if they were good then (5.2.3.13, 5.2.3.18)      messages, keys
 *   messages over 1 MiB, packed or not     memory of the reader                                  messages, packet limits
 *
 * Weak hashes are accepted in one place: a revocation counts whatever its hash is.
 */

/**
 * The most bytes in a signature file, and in what is compressed in it. Real ones have under 2,000.
 */
export const maxMessageSize = 1024 * 1024;

/** The fewest bits of an RSA key. */
export const minRsaBits = 2048;

/**
 * Milliseconds that a signature or a key may be dated ahead of this clock: clocks of signers differ
 * by seconds. Sequoia allows 30 minutes. There is no tolerance for expiry.
 */
export const clockTolerance = 5 * 60 * 1000;

const refusedHashes = new Set([enums.hash.md5, enums.hash.sha1, enums.hash.ripemd]);

/** Public-key algorithms that are refused. */
export const refusedAlgorithms: ReadonlySet<enums.publicKey> = new Set([
  enums.publicKey.elgamal,
  enums.publicKey.dsa,
]);

/** Curves that are refused as weak. */
export const refusedCurves: ReadonlySet<string | undefined> = new Set([enums.curve.secp256k1]);

/** Curves of ECDSA keys that can be verified. */
export const supportedCurves: ReadonlySet<string | undefined> = new Set([
  enums.curve.nistP256,
  enums.curve.nistP384,
  enums.curve.nistP521,
]);

/**
 * The configuration of openpgp.js for all that it verifies: messages, self-signatures and bindings.
 */
export const strictConfig = {
  minRSABits: minRsaBits,
  maxDecompressedMessageSize: maxMessageSize,
  rejectHashAlgorithms: refusedHashes,
  rejectMessageHashAlgorithms: refusedHashes,
  rejectPublicKeyAlgorithms: new Set(refusedAlgorithms),
  rejectCurves: new Set([enums.curve.secp256k1]),
  enforceGrammar: true,
  // A certificate that was exported with its newest self-signature only ("clean") has none from the time of an older signature. It is
  // enough that the key is good now, and that is checked before any signature of it.
  allowInsecureVerificationWithReformattedKeys: true,
} satisfies PartialConfig;

/**
 * The configuration for revocations: one over a weak hash still revokes. Strictness here would let
 * a revoked key sign.
 */
export const anyHashConfig = {
  ...strictConfig,
  rejectHashAlgorithms: new Set<enums.hash>(),
} satisfies PartialConfig;
