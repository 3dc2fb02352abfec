/**
 * The fingerprint of an OpenPGP key, in upper-case hex as gpg and MAINTAINERS write it: 40 digits
 * (version 4) or 64 (version 6, RFC 9580 section 5.5.4). A key ID is no fingerprint: anyone can
 * make two keys with one ID.
 */
export type Fingerprint = string & { readonly __fingerprint: unique symbol };

const pattern = /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/;

/**
 * Parses a fingerprint as people write it: any case, spaces between groups, a leading 0x. Returns
 * undefined for anything else.
 */
export function tryParseFingerprint(text: string): Fingerprint | undefined {
  const digits = text.replace(/^0x/i, "").replaceAll(" ", "").toUpperCase();
  return isFingerprint(digits) ? digits : undefined;
}

function isFingerprint(text: string): text is Fingerprint {
  return pattern.test(text);
}

/** Parses a fingerprint. @throws Error that quotes the text and names what is allowed */
export function parseFingerprint(text: string): Fingerprint {
  const fingerprint = tryParseFingerprint(text);
  if (fingerprint !== undefined) return fingerprint;
  throw new Error(
    `not a key's fingerprint: ${JSON.stringify(text.slice(0, 100))} (expected its 40 or 64 hex digits; a key ID is too short)`,
  );
}
