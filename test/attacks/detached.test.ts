import { createMessage, sign } from "openpgp";
import { test } from "vitest";
import { expectRejected, newKey, payload } from "../support/builders/maintainers.ts";

test("rejects a detached signature", async () => {
  const alice = await newKey("alice");
  const message = await createMessage({ binary: Buffer.from(payload()), format: "binary" });
  await expectRejected(
    await sign({ message, signingKeys: alice, detached: true, format: "binary" }),
    alice,
    "detached",
  );
});
