import { createHash } from "node:crypto";
import { z } from "zod";

/**
 * A content digest, `sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor.md
 * "Digests"). A value of this type has been parsed: it is safe as a file name and never needs
 * checking again.
 */
export type Digest = `sha256:${string}` & { readonly __digest: unique symbol };

const pattern = /^sha256:[0-9a-f]{64}$/;

/** Returns whether the text is a digest in canonical form. */
export function isDigest(text: string): text is Digest {
  return pattern.test(text);
}

/**
 * Parses a digest.
 * @throws Error that quotes the text (bounded) and names what is allowed
 */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new Error(
      `not a digest: ${JSON.stringify(text.slice(0, 100))} (expected "sha256:" and 64 lower-case hex digits)`,
    );
  }
  return text;
}

/** Schema of a digest that comes from outside. */
export const digestSchema = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), {
  error: 'not a digest (expected "sha256:" and 64 lower-case hex digits)',
});

/** Hashes bytes. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}

/**
 * Returns the 64 hex digits alone: a blob's file name, and the form of StageX's `digests/*.txt`.
 */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/**
 * Makes a digest of 64 hex digits, the form of StageX's `digests/*.txt`.
 * @throws Error where they are none
 */
export function digestFromHex(hex: string): Digest {
  return parseDigest(`sha256:${hex}`);
}
