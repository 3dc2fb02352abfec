import { findDuplicateMember } from "../../lib/text/duplicate-member.ts";
import { quoteUntrusted, SignatureRejection } from "../openpgp/signature-rejection.ts";

function decode(bytes: Uint8Array, limit: number): string {
  if (bytes.length > limit) {
    throw new SignatureRejection(
      "too-large",
      `the payload has ${bytes.length} bytes; more than ${limit} are too many`,
    );
  }
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new SignatureRejection("payload-encoding", "the payload begins with a byte order mark");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SignatureRejection("payload-encoding", "the payload is not UTF-8");
  }
}

/**
 * Parses signed JSON so that all readers find the same in it: UTF-8 without a byte order mark, and
 * no name twice in an object.
 * @param limit in bytes
 * @throws SignatureRejection
 */
export function parseStrictJson(bytes: Uint8Array, limit: number): unknown {
  const text = decode(bytes, limit);
  try {
    const value: unknown = JSON.parse(text);
    const twice = findDuplicateMember(text);
    if (twice === undefined) return value;
    throw new SignatureRejection(
      "payload-duplicate-member",
      `the payload has the member ${quoteUntrusted(twice)} twice in one object`,
    );
  } catch (error) {
    if (error instanceof SignatureRejection) throw error;
    throw new SignatureRejection(
      "payload-json",
      `the payload is not JSON: ${quoteUntrusted((error as Error).message)}`,
    );
  }
}
