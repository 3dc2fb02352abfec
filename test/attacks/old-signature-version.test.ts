import { createHash, createPrivateKey, type JsonWebKey, sign } from "node:crypto";
import type { PrivateKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, gpgHome, judged, newKey, payload } from "../support/builders/maintainers.ts";

/** Makes a packet in the old format with a length of two octets (RFC 4880, section 4.2.1). */
function packet(tag: number, body: Uint8Array): Buffer {
  const header = Buffer.from([0x80 | (tag << 2) | 1, 0, 0]);
  header.writeUInt16BE(body.length, 1);
  return Buffer.concat([header, body]);
}

function rsaKeyOf({ keyPacket }: PrivateKey) {
  const members = { ...Reflect.get(keyPacket, "publicParams"), ...Reflect.get(keyPacket, "privateParams") };
  const [n, e, d, p, q] = ["n", "e", "d", "p", "q"].map((name) => Buffer.from(members[name]));
  if (!n || !e || !d || !p || !q) throw new Error("not an RSA key");
  const number = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  const text = (value: bigint) => {
    const hex = value.toString(16);
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex").toString("base64url");
  };
  let qi = 1n;
  for (let base = number(q) % number(p), power = number(p) - 2n; power > 0n; power >>= 1n) {
    if (power & 1n) qi = (qi * base) % number(p);
    base = (base * base) % number(p);
  }
  const key: JsonWebKey = {
    ...{
      kty: "RSA",
      n: text(number(n)),
      e: text(number(e)),
      d: text(number(d)),
      p: text(number(p)),
      q: text(number(q)),
    },
    ...{ dp: text(number(d) % (number(p) - 1n)), dq: text(number(d) % (number(q) - 1n)), qi: text(qi) },
  };
  return createPrivateKey({ key, format: "jwk" });
}

/** A version 3 signature (RFC 4880, section 5.2.2) around the payload, right in every other way. */
function signedInVersion3(key: PrivateKey, text: string): Buffer {
  const content = Buffer.from(text);
  const hashed = Buffer.alloc(5); // binary, and when
  hashed.writeUInt32BE(Math.floor(Date.now() / 1000) - 3600, 1);
  const issuer = Buffer.from(key.getKeyID().toHex(), "hex");
  const signed = Buffer.concat([content, hashed]);
  const digest = createHash("sha256").update(signed).digest();
  const number = sign("sha256", signed, rsaKeyOf(key));
  const bits = BigInt(`0x${number.toString("hex")}`).toString(2).length;
  const mpi = Buffer.concat([
    Buffer.from([bits >> 8, bits & 0xff]),
    number.subarray(number.length - Math.ceil(bits / 8)),
  ]);
  const signature = Buffer.concat([
    Buffer.from([3, 5]),
    hashed,
    issuer,
    Buffer.from([1, 8]),
    digest.subarray(0, 2),
    mpi,
  ]);
  const onePass = Buffer.concat([Buffer.from([3, 0, 8, 1]), issuer, Buffer.from([1])]);
  const literal = Buffer.concat([Buffer.from("b\0\0\0\0\0"), content]);
  return Buffer.concat([packet(4, onePass), packet(11, literal), packet(2, signature)]);
}

test("rejects a version 3 signature, which gpg still accepts", async () => {
  const alice = await newKey("alice", { type: "rsa", rsaBits: 2048 });
  const bytes = signedInVersion3(alice, payload());
  const { gpg } = await gpgHome();
  gpg(["--import"], alice.toPublic().write());
  expect(gpg(["--decrypt"], bytes).toString()).toBe(payload());
  expect(codesOf(await judged([bytes], { alice: { keys: [alice] } }))).toEqual({
    "signature-1": "signature-version",
  });
});
