import { test } from "vitest";
import { expectRejected, newKey, signedBy } from "../support/builders/maintainers.ts";

test("rejects a file with two messages", async () => {
  const alice = await newKey("alice");
  const message = await signedBy(alice);
  await expectRejected(Buffer.concat([message, message]), alice, "malformed");
});
