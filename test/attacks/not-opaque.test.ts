import { createCleartextMessage, createMessage, sign } from "openpgp";
import { expect, test } from "vitest";
import { judged, newKey, payload, signedBy } from "../fixtures/maintainers.ts";

async function expectRejected(
  bytes: Uint8Array | string,
  alice: Awaited<ReturnType<typeof newKey>>,
  code: string,
) {
  const outcome = await judged([Buffer.from(bytes)], { alice: { keys: [alice] } });
  expect(outcome).toMatchObject({ people: 0, rejected: [{ file: "signature-1", code }] });
}

test("an armored message, which podman does not read, does not count", async () => {
  const alice = await newKey("alice");
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected(await sign({ message, signingKeys: alice }), alice, "armored");
});

test("a cleartext-signed message, whose text others may read otherwise, does not count", async () => {
  const alice = await newKey("alice");
  const message = await createCleartextMessage({ text: payload() });
  await expectRejected(await sign({ message, signingKeys: alice }), alice, "cleartext");
});

test("a detached signature, of who knows what, does not count", async () => {
  const alice = await newKey("alice");
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected(
    await sign({ message, signingKeys: alice, detached: true, format: "binary" }),
    alice,
    "detached",
  );
});

test("a literal that nobody signed does not count", async () => {
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected((await message.write()) as Uint8Array, await newKey("alice"), "unsigned");
});

test("two signatures in one message do not count, not even as one", async () => {
  const [alice, bob] = [await newKey("alice"), await newKey("bob")];
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  const both = await sign({ message, signingKeys: [alice, bob], format: "binary" });
  const outcome = await judged([both], { alice: { keys: [alice] }, bob: { keys: [bob] } });
  expect(outcome).toMatchObject({ people: 0, rejected: [{ code: "several-signatures" }] });
});

test("two messages in one file do not count", async () => {
  const alice = await newKey("alice");
  const message = await signedBy(alice);
  await expectRejected(Buffer.concat([message, message]), alice, "malformed");
});

test("a good message with something before or after it does not count", async () => {
  const alice = await newKey("alice");
  const message = await signedBy(alice);
  const unsigned = await createMessage({ binary: Buffer.from("{}"), format: "binary" });
  const literal = (await unsigned.write()) as Uint8Array;
  await expectRejected(Buffer.concat([message, literal]), alice, "malformed");
  await expectRejected(Buffer.concat([literal, message]), alice, "malformed");
  await expectRejected(Buffer.concat([message, Buffer.from("\n")]), alice, "malformed");
});

test("what is no OpenPGP message at all does not count", async () => {
  const alice = await newKey("alice");
  await expectRejected("", alice, "not-openpgp");
  await expectRejected(payload(), alice, "not-openpgp");
  await expectRejected("<!DOCTYPE html><title>404</title>", alice, "not-openpgp");
  await expectRejected((await signedBy(alice)).subarray(0, -1), alice, "malformed");
});
