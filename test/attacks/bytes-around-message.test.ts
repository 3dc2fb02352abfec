import { createMessage } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, signedBy } from "../support/builders/maintainers.ts";

test("rejects a good message with bytes before or after it", async () => {
  const alice = await newKey("alice");
  const message = await signedBy(alice);
  const unsigned = await createMessage({ binary: Buffer.from("{}"), format: "binary" });
  const literal = (await unsigned.write()) as Uint8Array;
  await expectRejected(Buffer.concat([message, literal]), alice, "malformed");
  await expectRejected(Buffer.concat([literal, message]), alice, "malformed");
  await expectRejected(Buffer.concat([message, Buffer.from("\n")]), alice, "malformed");
});
