import { duplicateMember } from "../../lib/text/duplicate-member.ts";
import { quoted, Rejection } from "../openpgp/signature-rejection.ts";

function decode(bytes: Uint8Array, limit: number): string {
  if (bytes.length > limit) {
    throw new Rejection(
      "too-large",
      `the payload has ${bytes.length} bytes; more than ${limit} are too many`,
    );
  }
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw new Rejection("payload-encoding", "the payload begins with a byte order mark");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Rejection("payload-encoding", "the payload is not UTF-8");
  }
}

/**
 * What signed JSON says, where all readers must find the same in it: UTF-8 without a byte order mark, and no name twice in an object.
 * @param limit in bytes
 * @throws Rejection
 */
export function parseStrictly(bytes: Uint8Array, limit: number): unknown {
  const text = decode(bytes, limit);
  try {
    const value: unknown = JSON.parse(text);
    const twice = duplicateMember(text);
    if (twice === undefined) return value;
    throw new Rejection(
      "payload-duplicate-member",
      `the payload has the member ${quoted(twice)} twice in one object`,
    );
  } catch (error) {
    if (error instanceof Rejection) throw error;
    throw new Rejection("payload-json", `the payload is not JSON: ${quoted((error as Error).message)}`);
  }
}
