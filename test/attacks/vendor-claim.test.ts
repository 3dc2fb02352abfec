import { createMessage, enums, readMessage, type SignaturePacket, sign } from "openpgp";
import { expect, test } from "vitest";
import { daysFromNow, judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

const rule = { threshold: 2, vendors: 2 };
const claim = (cpuVendor: string) => payload({ optional: { cpuVendor } });

test("ignores a claimed machine that the roster does not list for the person", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["AuthenticAMD"] },
  };
  const outcome = await judged(
    [await signedBy(alice, claim("AMD")), await signedBy(bob, claim("GenuineIntel"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
  expect(outcome.accepted[1]).toMatchObject({
    person: "bob",
    cpuVendor: null,
    note: expect.stringContaining("GenuineIntel"),
  });
});

test("counts two spellings of one vendor as one", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["AuthenticAMD"] },
  };
  const outcome = await judged(
    [await signedBy(alice, claim("amd")), await signedBy(bob, claim("AuthenticAMD"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, vendors: 1 });
});

test("ignores a claim outside of what is signed", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const both = ["AMD", "Intel"];
  const people = { alice: { keys: [alice], brands: both }, bob: { keys: [bob], brands: both } };
  const notSigned = Buffer.from(claim("GenuineIntel"));
  const files = [await signedBy(alice, claim("AMD")), await signedBy(bob), notSigned];
  const outcome = await judged(files, people, rule);
  expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
  expect(outcome.accepted[1]).toMatchObject({
    cpuVendor: null,
    note: expect.stringContaining("several vendors"),
  });
});

test("ignores an unknown vendor", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = { alice: { keys: [alice], brands: ["AMD"] }, bob: { keys: [bob], brands: ["Amd Two"] } };
  const outcome = await judged(
    [await signedBy(alice, claim("AMD")), await signedBy(bob, claim("Amd Two"))],
    people,
    rule,
  );
  expect(outcome).toMatchObject({ met: false, vendors: 1 });
});

test("people on two vendors' machines meet the rule, by claim or by an unambiguous roster", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["Intel", "AMD"] },
  };
  const outcome = await judged([await signedBy(alice), await signedBy(bob, claim("Intel(R)"))], people, rule);
  expect(outcome).toMatchObject({ met: true, people: 2, vendors: 2, rejected: [] });
});

test("a message without a claim stands for the roster's vendor or for none", async () => {
  const alice = await newKey("alice");
  const people = { alice: { keys: [alice], brands: ["AMD", "AuthenticAMD"] } };
  const vendorFor = async (text: string) =>
    (await judged([await signedBy(alice, text)], people, rule)).accepted[0]?.cpuVendor;
  expect(await vendorFor(payload())).toBe("AuthenticAMD");
  expect(await vendorFor(claim("AMD"))).toBe("AuthenticAMD");
  for (const other of ["GenuineIntel", "AMD Intel", "Graviton", "x"])
    expect(await vendorFor(claim(other))).toBe(null);
});

test("a message without a claim stands for no vendor if the roster is ambiguous", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const people = {
    alice: { keys: [alice], brands: ["AMD"] },
    bob: { keys: [bob], brands: ["Intel", "Something New"] },
  };
  const outcome = await judged([await signedBy(alice), await signedBy(bob)], people, rule);
  expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
});

test("ignores a claim in the unsigned parts of a message", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const both = ["AMD", "Intel"];
  const people = { alice: { keys: [alice], brands: both }, bob: { keys: [bob], brands: both } };
  const asFileName = await sign({
    message: await createMessage({
      binary: Buffer.from(payload()),
      filename: '{"cpuVendor":"GenuineIntel"}',
      format: "binary",
    }),
    signingKeys: bob,
    format: "binary",
    date: daysFromNow(-1),
    config: { preferredHashAlgorithm: enums.hash.sha512 },
  });
  for (const second of [asFileName, await withUnhashedNotation(await signedBy(bob), "GenuineIntel")]) {
    const outcome = await judged([await signedBy(alice, claim("AMD")), second], people, rule);
    expect(outcome.rejected).toEqual([]);
    expect(outcome).toMatchObject({ met: false, people: 2, vendors: 1 });
    expect(outcome.accepted[1]).toMatchObject({ person: "bob", cpuVendor: null });
  }
});

/** Adds a notation `cpuVendor@seed-tree.example` to a signature's unhashed part (RFC 9580, section 5.2.3.24), as anybody can. */
async function withUnhashedNotation(signed: Uint8Array, vendor: string): Promise<Uint8Array> {
  const name = "cpuVendor@seed-tree.example";
  const lengths = Buffer.alloc(4);
  lengths.writeUInt16BE(name.length, 0);
  lengths.writeUInt16BE(vendor.length, 2);
  const flags = Buffer.from([0x80, 0, 0, 0]);
  const body = Buffer.concat([flags, lengths, Buffer.from(name + vendor)]);
  const { packets } = await readMessage({ binaryMessage: signed });
  // openpgp.js leaves what comes after the literal in a stream, which its types don't tell of.
  const { value } = await (Reflect.get(packets, "stream") as ReadableStream<SignaturePacket>)
    .getReader()
    .read();
  if (value) packets.push(value);
  const [signature] = packets.filterByTag(enums.packet.signature);
  Reflect.get(signature ?? {}, "unhashedSubpackets").push({ type: 20, critical: false, body });
  const changed = Buffer.from(packets.write());
  expect(changed.includes(vendor)).toBe(true);
  return changed;
}
