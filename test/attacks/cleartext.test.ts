import { createCleartextMessage, sign } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, payload } from "../support/builders/maintainers.ts";

test("rejects a cleartext-signed message", async () => {
  const alice = await newKey("alice");
  const message = await createCleartextMessage({ text: payload() });
  await expectRejected(await sign({ message, signingKeys: alice }), alice, "cleartext");
});
