/** The parts of a key file that has text in it. */
export type KeyText = {
  /** Armored blocks, from their BEGIN to their END line. */
  readonly blocks: readonly string[];
  /** Binary parts between and behind the blocks: packets may follow an armored block. */
  readonly binaries: readonly Uint8Array[];
  /**
   * Whether a block has a colon before it: gpg writes it so that a prepared revocation is not used
   * by accident.
   */
  readonly hasDisarmedRevocation: boolean;
  /** The reason why the text may have OpenPGP data outside of `blocks`. */
  readonly doubt?: string;
};

const begin = /^[> \t]*(:?)-----BEGIN PGP ([A-Z0-9 ,/]{1,40})-----[ \t\r]*$/gm;
const end = /^[> \t]*-----END PGP [A-Z0-9 ,/]{1,40}-----/gm;

/** Splits a file in one pass, so that a hostile file takes no longer than any other of its size. */
export function splitKeyText(bytes: Uint8Array): KeyText {
  const text = decodeText(Buffer.from(bytes));
  const starts = text.includes("BEGIN PGP ") ? [...text.matchAll(begin)] : [];
  const ends = text.matchAll(end);
  const blocks: string[] = [];
  const rest: string[] = [];
  let hasDisarmedRevocation = false;
  let at = 0;
  let close = ends.next().value;
  for (const [index, start] of starts.entries()) {
    while (close && close.index < start.index) close = ends.next().value;
    if (!close) break;
    // A block without its own END line stays in the rest, where it becomes a doubt.
    if (close.index > (starts[index + 1]?.index ?? text.length)) {
      // The content of a cleartext-signed message is text.
      if (start[2] !== "SIGNED MESSAGE") continue;
      rest.push(text.slice(at, start.index));
      at = start.index + start[0].length;
      continue;
    }
    const stop = close.index + close[0].length;
    rest.push(text.slice(at, start.index));
    if (start[1] === ":") hasDisarmedRevocation = true;
    else blocks.push(text.slice(start.index, stop).replaceAll("\r\n", "\n").trimStart());
    at = stop;
  }
  rest.push(text.slice(at));
  const binaries = rest.filter(isBinary).map((part) => Buffer.from(part.replace(/^[\r\n]+/, ""), "latin1"));
  const doubt = rest.map(findDoubt).find((reason) => reason !== undefined);
  return { blocks, binaries, hasDisarmedRevocation, ...(doubt === undefined ? {} : { doubt }) };
}

/**
 * Decodes a file to one character for each octet, so that packets in it stay intact. UTF-16 and
 * UTF-32 files, which Windows writes, are decoded to their text. Without a byte order mark they are
 * recognized by the zeros between ASCII letters.
 */
function decodeText(bytes: Buffer): string {
  const head = bytes.subarray(0, 8).toString("latin1");
  if (head.startsWith("\xef\xbb\xbf")) return bytes.subarray(3).toString("latin1");
  if (/^(?:\xff\xfe\0\0|\0\0\xfe\xff)/.test(head)) return withoutZeros(bytes.subarray(4));
  if (head.startsWith("\xff\xfe")) return new TextDecoder("utf-16le").decode(bytes);
  if (head.startsWith("\xfe\xff")) return new TextDecoder("utf-16be").decode(bytes);
  const isWide = /^(?:\0{1,3}[\t -~]|[\t -~]\0{1,3}[\t -~\r\n])/.test(head);
  return isWide ? withoutZeros(bytes) : bytes.toString("latin1");
}

function withoutZeros(bytes: Buffer): string {
  return bytes.toString("latin1").replaceAll("\0", "");
}

/**
 * Every relevant packet has a control character that no text has: its version, or a length below
 * 32.
 */
function isBinary(part: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for.
  return /[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(part);
}

/**
 * Finds traces of a damaged block: a BEGIN or END line without the other, or bare lines of base64.
 */
function findDoubt(part: string): string | undefined {
  if (
    part.includes(" PGP ") &&
    /^[^A-Za-z\n]{0,20}(?:BEGIN|END) +PGP [A-Z0-9 ,/]{0,40}[^A-Za-z\n]{0,20}$/m.test(part)
  )
    return "it has a BEGIN or END line of OpenPGP armor without the other";
  if (hasArmorLine(part))
    return "it has a BEGIN or END of OpenPGP armor inside a line; put it on a line of its own, or remove it";
  return hasBareBase64(part) ? "it has lines of base64 outside of any armor" : undefined;
}

/**
 * Returns whether the text has a BEGIN or END line anywhere: in HTML or JSON it may stand inside a
 * line.
 */
export function hasArmorLine(text: string): boolean {
  return text.includes("-----BEGIN PGP ") || text.includes("-----END PGP ");
}

/** The fewest characters of a line of base64 to notice: gpg and others write 64 a line. */
const shortestBase64 = 60;

/** The most characters of a line to examine. */
const longestLine = 1000;

/**
 * Returns whether there is a line of base64 outside of PEM blocks, which have certificates and keys
 * of other kinds (RFC 7468).
 */
function hasBareBase64(part: string): boolean {
  let isInside = false;
  for (let at = 0, stop = 0; at < part.length; at = stop + 1) {
    stop = part.indexOf("\n", at);
    if (stop < 0) stop = part.length;
    const isFrame = part.startsWith("-----", at);
    // Skips short lines early: a file of line ends alone has millions of them.
    if (!isFrame && stop - at < shortestBase64) continue;
    // A file may be one long line: its beginning is enough, and regular expressions have a stack.
    const line = part.slice(at, Math.min(stop, at + longestLine));
    if (isFrame && /^-----BEGIN [A-Z0-9 ]{1,60}-----\s*$/.test(line)) isInside = true;
    else if (isFrame && /^-----END [A-Z0-9 ]{1,60}-----\s*$/.test(line)) isInside = false;
    else if (!isInside && isBase64(line)) return true;
  }
  return false;
}

function isBase64(line: string): boolean {
  return /^[> \t]*[A-Za-z0-9+/]{60,}={0,2}\s*$/.test(line) && !/^[0-9A-Fa-f]+\s*$/.test(line);
}
