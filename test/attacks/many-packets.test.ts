import { deflateRawSync, deflateSync } from "node:zlib";
import type { PrivateKey } from "openpgp";
import { beforeAll, describe, expect, test } from "vitest";
import { codesOf, judged, newKey, signedBy } from "../support/builders/maintainers.ts";

/**
 * Signatures of a hundred bytes to a megabyte, whose number of packets would take minutes of work.
 */
let alice: PrivateKey;
let signature: Uint8Array;

beforeAll(async () => {
  alice = await newKey("alice", { subkeys: [{ sign: true }] });
  signature = await signedBy(alice);
});

const size = 1024 * 1024;

/** What some work comes to, and the seconds of processor time that it takes. */
async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const start = process.cpuUsage();
  const result = await work();
  return [result, process.cpuUsage(start).user / 1e6];
}

const signatures = Buffer.alloc(size - 100, Buffer.from([0xc2, 2, 3, 0]));
const repeated = (piece: readonly number[]) => Buffer.alloc(size - 100, Buffer.from(piece));

describe("a signature with very many packets is rejected at once", () => {
  const ways: Readonly<Record<string, () => Uint8Array>> = {
    "signature packets": () => signatures,
    "packets without content": () => repeated([0xc2, 0]),
    "marker packets": () => repeated([0xca, 3, 0x50, 0x47, 0x50]),
    "in the old format": () => repeated([0x88, 2, 3, 0]),
    "one packet in parts": () => Buffer.concat([Buffer.from([0xcb]), repeated([0xe0, 98])]),
    "packed: zip": () => Buffer.concat([Buffer.from([0xa3, 1]), deflateRawSync(signatures)]),
    "packed: zlib": () => Buffer.concat([Buffer.from([0xa3, 2]), deflateSync(signatures)]),
    "packed, and not": () => Buffer.concat([Buffer.from([0xa3, 0]), signatures]),
    "packed, in parts": () => {
      const packed = deflateSync(signatures);
      return Buffer.concat([
        ...[Buffer.from([0xc8, 0xe9]), Buffer.from([2]), packed.subarray(0, 511)],
        ...[
          Buffer.from([0xff, 0, 0, (packed.length - 511) >> 8, (packed.length - 511) & 255]),
          packed.subarray(511),
        ],
      ]);
    },
    "packed many times over": () => {
      const packed = deflateRawSync(Buffer.alloc(800, Buffer.from([0xc2, 2, 3, 0])));
      const one = Buffer.concat([Buffer.from([0xc8, packed.length + 1, 1]), packed]);
      return Buffer.concat(Array.from({ length: 250 }, () => one));
    },
  };
  test.each(Object.entries(ways))("%s", async (_, bytes) => {
    const [outcome, spent] = await timed(() => judged([bytes(), signature], { alice: { keys: [alice] } }));
    expect(codesOf(outcome)).toEqual({ "signature-1": "message-shape" });
    expect(outcome).toMatchObject({ people: 1 });
    expect(spent).toBeLessThan(1);
  });

  test("packed with bzip2, to 95 bytes from a megabyte", async () => {
    // 262,119 times c2020300, packed.
    const packed = Buffer.from(bzip2, "base64");
    const bytes = Buffer.concat([Buffer.from([0xa3, 3]), packed]);
    const [outcome, spent] = await timed(() => judged([bytes, signature], { alice: { keys: [alice] } }));
    expect(spent).toBeLessThan(2);
    expect(codesOf(outcome)).toEqual({ "signature-1": "decompressed-too-large" });
  });
});

const bzip2 =
  "QlpoOTFBWSZTWV0aBBMFJlTABFgAEAAgAFBmmgmqj0+VCETFQhExUIRPYqEInGKCskymsmpaT+ABIgeACLAAIABAAKDNNApQaQIR1AQjeIEIygIR4u5IpwoSEeMl+sA=";
