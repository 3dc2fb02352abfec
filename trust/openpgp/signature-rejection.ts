import { printableLine } from "../../lib/text/printable.ts";

/**
 * The reason why a signature does not count, as a code for programs (`stagex verify --json`). A
 * code never changes its meaning. The text beside it is for people.
 */
export type RejectionCode =
  // The file.
  | "not-a-file"
  | "too-large"
  | "too-many"
  | "after-gap"
  // The OpenPGP message around the payload.
  | "not-openpgp"
  | "armored"
  | "cleartext"
  | "malformed"
  | "message-shape"
  | "unsigned"
  | "detached"
  | "several-signatures"
  | "signature-version"
  | "text-mode"
  | "decompressed-too-large"
  // The signature itself, and the key that made it.
  | "weak-hash"
  | "future-signature"
  | "expired-signature"
  | "bad-signature"
  | "unknown-key"
  | "weak-key"
  | "unsupported-key"
  | "revoked-key"
  | "expired-key"
  | "invalid-key"
  // The payload.
  | "payload-encoding"
  | "payload-json"
  | "payload-duplicate-member"
  | "payload-members"
  // The claim, and the person.
  | "other-reference"
  | "other-digest"
  | "not-in-roster"
  | "same-person";

/**
 * A signature that does not count: thrown by the checks, caught by the quorum, which goes on with
 * the next file. Libraries put into their messages what they found in a file that anybody may have
 * written, so the reason is escaped and bounded.
 */
export class SignatureRejection extends Error {
  override readonly name = "SignatureRejection";
  readonly code: RejectionCode;

  constructor(code: RejectionCode, reason: string) {
    super(printableLine(reason.slice(0, 1000)));
    this.code = code;
  }
}

/** Quotes text by others: printable, and short enough for a message. */
export function quoteUntrusted(text: string): string {
  const start = text.slice(0, 100);
  return printableLine(JSON.stringify(start.length < text.length ? `${start}…` : start));
}
