import { createMessage, sign } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, payload } from "../support/builders/maintainers.ts";

test("rejects an armored message, which podman does not read", async () => {
  const alice = await newKey("alice");
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected(await sign({ message, signingKeys: alice }), alice, "armored");
});
