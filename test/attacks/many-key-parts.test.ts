import type { PrivateKey } from "openpgp";
import { beforeAll, describe, expect, test } from "vitest";
import { Keyring } from "../../trust/openpgp/keyring.ts";
import {
  certificateOf,
  type Files,
  judgedWith,
  keyFolder,
  revocable,
  verdictOf,
} from "../support/builders/key-folder.ts";
import { newKey, signedBy } from "../support/builders/maintainers.ts";

/** Certificates whose number of parts would take minutes or hours of work. */
let alice: PrivateKey;
let signature: Uint8Array;
let revocation: Buffer;

beforeAll(async () => {
  ({ key: alice, signature, revocation } = await revocable("alice"));
});

/** What some work comes to, and the seconds of processor time that it takes. */
async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const start = process.cpuUsage();
  const result = await work();
  return [result, process.cpuUsage(start).user / 1e6];
}

/** The parts of Alice's certificate: key, user ID, its signature; subkey, its signature. */
function partsOf(bytes: Buffer): readonly Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes.readUInt8(at + 1);
    const length = first < 192 ? 2 + first : 3 + ((first - 192) << 8) + bytes.readUInt8(at + 2) + 192;
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

/** Copies of a packet that differ in their last octets. */
function variants(packet: Buffer, count: number): readonly Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const copy = Buffer.from(packet);
    copy.writeUInt16BE(index, copy.length - 4);
    return copy;
  });
}

describe("a certificate with very many parts puts its key in doubt within seconds", () => {
  const ways: Readonly<Record<string, () => Promise<Files>>> = {
    subkeys: async () => {
      const [key, user, certification, subkey, binding] = partsOf(certificateOf(alice)) as Buffer[];
      const many = variants(subkey as Buffer, 3000).flatMap((one) => [one, binding as Buffer]);
      return { a: Buffer.concat([key as Buffer, user as Buffer, certification as Buffer, ...many]) };
    },
    "subkeys in many files": async () => {
      const [key, user, certification, subkey, binding] = partsOf(certificateOf(alice)) as Buffer[];
      const start = [key as Buffer, user as Buffer, certification as Buffer];
      const copies = variants(subkey as Buffer, 1500).map((one) =>
        Buffer.concat([...start, one, binding as Buffer]),
      );
      return Object.fromEntries(copies.map((bytes, index) => [`a${index}`, bytes]));
    },
    "self-certifications": async () => {
      const [key, user, certification, ...rest] = partsOf(certificateOf(alice)) as Buffer[];
      const many = variants(certification as Buffer, 3000);
      return { a: Buffer.concat([key as Buffer, user as Buffer, certification as Buffer, ...many, ...rest]) };
    },
    "revocations of it": async () => {
      const [key, ...rest] = partsOf(certificateOf(alice)) as Buffer[];
      const many = variants(revocation, 3000);
      return { a: Buffer.concat([key as Buffer, ...many, ...rest]) };
    },
  };
  test.each(Object.entries(ways))("%s", { timeout: 120_000 }, async (_, files) => {
    const bob = await newKey("bob");
    const folder = await keyFolder({ ...(await files()), bob: certificateOf(bob) });
    const [keyring, spent] = await timed(() => Keyring.load(folder));
    expect(spent).toBeLessThan(10);
    const primary = alice.getFingerprint().toUpperCase();
    expect(keyring.doubts).toMatchObject([
      { reason: expect.stringContaining("more than the"), keys: [primary] },
    ]);
    const people = { alice: { keys: [alice] }, bob: { keys: [bob] } };
    expect(verdictOf(await judgedWith(folder, [signature], people))).not.toBe("met");
    expect(verdictOf(await judgedWith(folder, [await signedBy(bob)], people))).toBe("met");
  });

  test("accepts a certificate with a thousand certifications by others", async () => {
    const [key, user, certification, ...rest] = partsOf(certificateOf(alice)) as Buffer[];
    const other = await newKey("mallory");
    const many = variants(partsOf(certificateOf(other))[2] as Buffer, 1000);
    const folder = await keyFolder({
      a: Buffer.concat([key as Buffer, user as Buffer, certification as Buffer, ...many, ...rest]),
    });
    expect(verdictOf(await judgedWith(folder, [signature], { alice: { keys: [alice] } }))).toBe("met");
  });
});
