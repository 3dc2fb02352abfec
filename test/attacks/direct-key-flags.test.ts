import {
  config,
  createMessage,
  enums,
  PacketList,
  PrivateKey,
  type SecretKeyPacket,
  SignaturePacket,
  sign,
} from "openpgp";
import { expect, test } from "vitest";
import type { QuorumVerdict } from "../../trust/quorum/quorum.ts";
import { codesOf, daysFromNow, judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

const { signData, certifyKeys } = enums.keyFlags;
type Flags = { readonly flags?: number; readonly date?: Date };

/**
 * Makes a key whose user ID and direct-key signatures state these flags. It assembles the packets,
 * as no tool makes all of them.
 */
async function keyWith(userId: Flags, direct: readonly (Flags & { by?: PrivateKey })[]): Promise<PrivateKey> {
  const base = await newKey("alice");
  const own = base.keyPacket as SecretKeyPacket;
  const userID = base.users[0]?.userID ?? undefined;
  const make = async (type: enums.signature, { flags, date = daysFromNow(-2) }: Flags, by = own) => {
    const signature = new SignaturePacket();
    signature.signatureType = type;
    signature.publicKeyAlgorithm = by.algorithm;
    signature.hashAlgorithm = enums.hash.sha512;
    signature.keyFlags = flags === undefined ? null : Uint8Array.of(flags);
    const over = type === enums.signature.key ? { key: own } : { key: own, userID };
    // The library's types leave out what it takes the rest from.
    await Reflect.apply(signature.sign, signature, [by, over, date, false, config]);
    return signature;
  };
  const list = new PacketList();
  const directs = direct.map(({ by, ...flags }) =>
    make(enums.signature.key, flags, by?.keyPacket as SecretKeyPacket),
  );
  list.push(
    own,
    ...(await Promise.all(directs)),
    userID as never,
    await make(enums.signature.certPositive, userId),
  );
  return new PrivateKey(list as never);
}

/** The signer's own software does not mind that no flags are where it looks. */
async function outcomeOf(key: PrivateKey): Promise<QuorumVerdict> {
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  const settings = { preferredHashAlgorithm: enums.hash.sha512, allowMissingKeyFlags: true };
  const signing = { message, signingKeys: key, date: daysFromNow(-1), config: settings };
  const signature = await sign({ ...signing, format: "binary" });
  return await judged([signature], { alice: { keys: [key] } }, { threshold: 1, vendors: 0 });
}

test("accepts a primary key with flags in a direct-key signature alone, as Sequoia does", async () => {
  expect(await outcomeOf(await keyWith({}, [{ flags: signData | certifyKeys }]))).toMatchObject({
    met: true,
  });
});

test.each<[string, Flags, readonly Flags[]]>([
  ["no flags anywhere", {}, []],
  ["a direct-key signature without flags", {}, [{}]],
  ["flags for certifying alone", {}, [{ flags: certifyKeys }]],
  [
    "a newer direct-key signature that takes signing back",
    {},
    [{ flags: signData }, { flags: certifyKeys, date: daysFromNow(-1.5) }],
  ],
  ["a newer direct-key signature without flags", {}, [{ flags: signData }, { date: daysFromNow(-1.5) }]],
  ["a direct-key signature from the future", {}, [{ flags: signData, date: daysFromNow(1) }]],
])("rejects a key with %s", async (_, userId, direct) => {
  expect(codesOf(await outcomeOf(await keyWith(userId, direct)))).toEqual({ "signature-1": "invalid-key" });
});

test("rejects a key with flags that a stranger has signed", async () => {
  const key = await keyWith({}, [{ flags: signData, by: await newKey("mallory") }]);
  expect(codesOf(await outcomeOf(key))).toEqual({ "signature-1": "invalid-key" });
});

test("prefers the flags of the user ID to those of the direct-key signature", async () => {
  const able = await keyWith({ flags: signData }, [{ flags: certifyKeys }]);
  expect(
    await judged([await signedBy(able)], { alice: { keys: [able] } }, { threshold: 1, vendors: 0 }),
  ).toMatchObject({ met: true });
});
