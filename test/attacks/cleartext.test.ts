import { createCleartextMessage, sign } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, payload } from "../support/builders/maintainers.ts";

test("a cleartext-signed message, whose text others may read otherwise, does not count", async () => {
  const alice = await newKey("alice");
  const message = await createCleartextMessage({ text: payload() });
  await expectRejected(await sign({ message, signingKeys: alice }), alice, "cleartext");
});
