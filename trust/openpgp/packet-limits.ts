import { inflateRawSync, inflateSync } from "node:zlib";
import { enums } from "openpgp";
import { maxMessageSize } from "./openpgp-policy.ts";
import { SignatureRejection } from "./signature-rejection.ts";

/**
 * The most packets of a message. A valid one has three, or four if compressed. Each takes
 * openpgp.js some 50 microseconds.
 */
const maxHeaders = 256;

/**
 * The most decompressed bytes of bzip2, which Node can't decompress beforehand to count its
 * packets.
 */
const maxBzip2Size = 32 * 1024;

type Packet = { readonly tag: number; readonly body: Buffer };

/**
 * Rejects a message with too many packets before openpgp.js parses them, by reading their headers
 * alone.
 * @returns the most bytes that may be decompressed from it
 * @throws SignatureRejection
 */
export function requireFewPackets(bytes: Uint8Array): number {
  const reader = new HeaderReader();
  const packed = reader.read(Buffer.from(bytes)).filter(({ tag }) => tag === enums.packet.compressedData);
  const [first, ...more] = packed;
  if (first === undefined) return maxMessageSize;
  if (more.length > 0)
    throw new SignatureRejection("message-shape", "there is more in the message than what is packed in it");
  const { compression } = enums;
  const algorithm = first.body[0];
  if (algorithm === compression.bzip2) return maxBzip2Size;
  const body = first.body.subarray(1);
  if (algorithm === compression.uncompressed) reader.read(body);
  else if (algorithm === compression.zip) reader.read(unpack(inflateRawSync, body));
  else if (algorithm === compression.zlib) reader.read(unpack(inflateSync, body));
  return maxMessageSize;
}

function unpack(unpack: typeof inflateSync, body: Buffer): Buffer {
  try {
    return unpack(body, { maxOutputLength: maxMessageSize });
  } catch (error) {
    throw error instanceof RangeError
      ? new SignatureRejection("decompressed-too-large", `it unpacks to more than ${maxMessageSize} bytes`)
      : new SignatureRejection(
          "malformed",
          "not a whole OpenPGP message: what is packed in it can't be unpacked",
        );
  }
}

/**
 * Reads and counts the headers of packets (RFC 9580, section 4.2). openpgp.js reports anything that
 * is no packet.
 */
class HeaderReader {
  #count = 0;

  read(data: Buffer): readonly Packet[] {
    const packets: Packet[] = [];
    for (let at = 0; at + 1 < data.length; ) {
      const first = data.readUInt8(at);
      if ((first & 0x80) === 0) break;
      this.#countOne();
      const isNew = (first & 0x40) !== 0;
      const { chunks, end } = isNew ? this.#newBody(data, at + 1) : oldFormatBody(data, at);
      packets.push({ tag: isNew ? first & 0x3f : (first & 0x3c) >> 2, body: Buffer.concat(chunks) });
      at = end;
    }
    return packets;
  }

  /**
   * Reads a body in the new format, which may come in parts with their own lengths (section
   * 4.2.1.4).
   */
  #newBody(data: Buffer, start: number): { readonly chunks: readonly Buffer[]; readonly end: number } {
    const chunks: Buffer[] = [];
    for (let at = start; ; this.#countOne()) {
      const { length, from, isLast } = newFormatLength(data, at);
      chunks.push(data.subarray(from, from + length));
      at = from + length;
      if (isLast || at >= data.length) return { chunks, end: at };
    }
  }

  #countOne(): void {
    if (++this.#count > maxHeaders)
      throw new SignatureRejection("message-shape", `more than ${maxHeaders} packets or parts of packets`);
  }
}

function oldFormatBody(
  data: Buffer,
  at: number,
): { readonly chunks: readonly Buffer[]; readonly end: number } {
  const kind = data.readUInt8(at) & 3;
  const from = kind === 3 ? at + 1 : at + 1 + 2 ** kind;
  // A body of indeterminate length ends where the data ends.
  const length = kind === 3 || from > data.length ? data.length : data.readUIntBE(at + 1, 2 ** kind);
  return { chunks: [data.subarray(from, from + length)], end: from + length };
}

function newFormatLength(
  data: Buffer,
  at: number,
): { readonly length: number; readonly from: number; readonly isLast: boolean } {
  const [first = 0, second = 0] = data.subarray(at, at + 2);
  if (first < 192) return { length: first, from: at + 1, isLast: true };
  if (first < 224) return { length: ((first - 192) << 8) + second + 192, from: at + 2, isLast: true };
  if (first < 255) return { length: 2 ** (first & 31), from: at + 1, isLast: false };
  const isWhole = at + 5 <= data.length;
  return { length: isWhole ? data.readUInt32BE(at + 1) : data.length, from: at + 5, isLast: true };
}
