import { test } from "vitest";
import { expectRejected, newKey, signedBy } from "../support/builders/maintainers.ts";

test("two messages in one file do not count", async () => {
  const alice = await newKey("alice");
  const message = await signedBy(alice);
  await expectRejected(Buffer.concat([message, message]), alice, "malformed");
});
