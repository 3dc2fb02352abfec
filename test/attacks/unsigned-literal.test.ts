import { createMessage } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, payload } from "../support/builders/maintainers.ts";

test("rejects a literal without a signature", async () => {
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected((await message.write()) as Uint8Array, await newKey("alice"), "unsigned");
});
