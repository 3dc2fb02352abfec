import { config, enums, type PrivateKey, SignaturePacket } from "openpgp";
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
import { newKey } from "../support/builders/maintainers.ts";

/** A revocation in or behind a certificate that it is not about, or with a damaged issuer. */
let alice: PrivateKey;
let bob: PrivateKey;
let mallory: PrivateKey;
let signature: Uint8Array;
let revocation: Buffer;

beforeAll(async () => {
  ({ key: alice, signature, revocation } = await revocable("alice"));
  [bob, mallory] = await Promise.all([newKey("bob"), newKey("mallory")]);
});

const binary = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);

function armored(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n${lines.join("\n")}\n-----END PGP PUBLIC KEY BLOCK-----\n`;
}

async function verdict(files: Files): Promise<string> {
  return verdictOf(await judgedWith(await keyFolder(files), [signature], { alice: { keys: [alice] } }));
}

/** A certificate with a packet directly behind its primary key. */
function inside(certificate: Buffer, packet: Buffer): Buffer {
  const end = 2 + certificate.readUInt8(1);
  return binary(certificate.subarray(0, end), packet, certificate.subarray(end));
}

/** A version 4 signature of a type over Alice's primary key, by another. */
async function overAlice(by: PrivateKey, type: enums.signature): Promise<Buffer> {
  const packet = new SignaturePacket();
  packet.signatureType = type;
  packet.publicKeyAlgorithm = by.keyPacket.algorithm;
  packet.hashAlgorithm = enums.hash.sha512;
  packet.issuerKeyID = by.getKeyID();
  packet.issuerFingerprint = by.keyPacket.getFingerprintBytes();
  const data = { key: alice.toPublic().keyPacket };
  // @ts-expect-error openpgp.js's types leave out the configuration, and have the key's packet as public.
  await packet.sign(by.keyPacket, data, new Date(Date.now() - 60_000), false, config);
  const body = Buffer.from(packet.write());
  return binary(Buffer.from([0xc2, 0xff, 0, 0, body.length >> 8, body.length & 255]), body);
}

describe("a revocation behind another's certificate revokes", () => {
  const ways: Readonly<Record<string, () => Files>> = {
    "all keys and it in one file": () => ({
      all: binary(certificateOf(alice), certificateOf(bob), revocation),
    }),
    "the other first": () => ({ all: binary(certificateOf(bob), revocation), alice: certificateOf(alice) }),
    "directly behind the other's primary key": () => ({
      all: inside(certificateOf(bob), revocation),
      alice: certificateOf(alice),
    }),
    "in one armored block": () => ({
      all: armored(binary(certificateOf(bob), revocation)),
      alice: certificateOf(alice),
    }),
    "in one of two copies of the other": () => ({
      ...{ alice: certificateOf(alice), b1: certificateOf(bob), b2: binary(certificateOf(bob), revocation) },
    }),
    "behind a private key": () => ({
      ...{
        alice: certificateOf(alice),
        bob: certificateOf(bob),
        secret: binary(Buffer.from(mallory.write()), revocation),
      },
    }),
    "behind a subkey of a kind that is not supported": () => {
      const subkey = Buffer.from([0xce, 6, 4, 1, 2, 3, 4, 99]);
      return { alice: certificateOf(alice), bob: binary(certificateOf(bob), subkey, revocation) };
    },
  };
  test.each(Object.entries(ways))("%s", async (_, files) => {
    expect(await verdict(files())).toMatch(/^not met$|^can't tell$/);
    const keyring = await Keyring.load(await keyFolder(files()));
    const [primary] = [...keyring.certificates.keys()].filter(
      (one) => one === alice.getFingerprint().toUpperCase(),
    );
    if (primary === undefined) throw new Error("Alice's certificate is missing");
    expect(keyring.keysOf(primary)[0]?.revoked).toBe("revoked");
  });
});

test("doubts both the certificate before a damaged one and the one that it names", async () => {
  const damaged = Buffer.from(revocation);
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 5) ^ 1, damaged.length - 5);
  expect(await verdict({ all: binary(certificateOf(alice), certificateOf(bob), damaged) })).toBe(
    "can't tell",
  );
});

test("never ignores a revocation with one flipped bit in its own certificate", {
  timeout: 120_000,
}, async () => {
  const unseen: number[] = [];
  for (let at = 0; at < (revocation.length - 2) * 8; at++) {
    const damaged = Buffer.from(revocation);
    const octet = 2 + (at >> 3);
    damaged.writeUInt8(damaged.readUInt8(octet) ^ (1 << (at & 7)), octet);
    if ((await verdict({ alice: inside(certificateOf(alice), damaged) })) === "met") unseen.push(at);
  }
  // One bit of the type (0x20) away is the revocation of a certification (0x30), and a signature of a document (0x00).
  expect(unseen).toEqual([8 + 4, 8 + 5]);
});

describe("a stranger's in somebody's certificate", () => {
  test("is ignored if the stranger's key is at hand", async () => {
    const theirs = await overAlice(mallory, enums.signature.keyRevocation);
    expect(
      await verdict({ alice: inside(certificateOf(alice), theirs), mallory: certificateOf(mallory) }),
    ).toBe("met");
  });

  test("puts this certificate alone in doubt if it is not", async () => {
    const theirs = await overAlice(mallory, enums.signature.keyRevocation);
    const keyring = await Keyring.load(
      await keyFolder({ alice: inside(certificateOf(alice), theirs), bob: certificateOf(bob) }),
    );
    expect(keyring.doubts).toEqual([
      {
        reason: expect.stringContaining("whose key is missing"),
        keys: [alice.getFingerprint().toUpperCase()],
      },
    ]);
  });
});
