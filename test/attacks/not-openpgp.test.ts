import { test } from "vitest";
import { expectRejected, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

test("rejects a file that is no OpenPGP message", async () => {
  const alice = await newKey("alice");
  await expectRejected("", alice, "not-openpgp");
  await expectRejected(payload(), alice, "not-openpgp");
  await expectRejected("<!DOCTYPE html><title>404</title>", alice, "not-openpgp");
  await expectRejected((await signedBy(alice)).subarray(0, -1), alice, "malformed");
});
