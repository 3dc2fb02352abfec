import { deflateRawSync, deflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { judged, newKey, signedBy } from "../support/builders/maintainers.ts";

const size = 200 * 1024 * 1024;

/**
 * Makes a literal packet of `size` spaces (RFC 9580), compressed (section 5.6) and in a packet of
 * indeterminate length (4.2.2.4).
 */
function bomb(algorithm: number, packed: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const header = Buffer.from([0xcb, 0xff, 0, 0, 0, 0, 0x62, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(size + 6, 2);
  return Buffer.concat([
    Buffer.from([0xa3, algorithm]),
    packed(Buffer.concat([header, Buffer.alloc(size, " ")])),
  ]);
}

test.each([
  ["zip", 1, deflateRawSync],
  ["zlib", 2, deflateSync],
] as const)(
  "stops at 200 MB behind 200 KB, and counts the good signatures: %s",
  async (_, algorithm, packed) => {
    const alice = await newKey("alice");
    const bytes = bomb(algorithm, packed);
    expect(bytes.length).toBeLessThan(250_000);
    const good = await signedBy(alice);
    const before = process.resourceUsage().maxRSS;
    const outcome = await judged([bytes, good], { alice: { keys: [alice] } });
    expect(outcome).toMatchObject({
      people: 1,
      rejected: [{ file: "signature-1", code: "decompressed-too-large" }],
    });
    // In KiB.
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(64 * 1024);
  },
);
