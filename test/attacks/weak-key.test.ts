import { config, readKey } from "openpgp";
import { expect, onTestFinished, test } from "vitest";
import { codesOf, gpgHome, judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

test("rejects RSA with fewer than 2048 bits", async () => {
  // As if the signer's program had never heard of weak keys, and somebody had made ours as careless.
  config.minRSABits = 1024;
  onTestFinished(() => {
    config.minRSABits = 2047;
  });
  const alice = await newKey("alice", { type: "rsa", rsaBits: 1024 });
  const outcome = await judged([await signedBy(alice)], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "weak-key" });
  expect(outcome.rejected[0]?.reason).toContain("1024 bits");
});

test.each(["dsa2048", "secp256k1"])("rejects an obsolete kind of key: %s", async (algorithm) => {
  const { gpg, newKey } = await gpgHome();
  newKey("alice", algorithm);
  const alice = await readKey({ binaryKey: gpg(["--export"]) });
  const outcome = await judged([gpg(["--digest-algo=SHA512", "--sign"], payload())], {
    alice: { keys: [alice] },
  });
  expect(codesOf(outcome)).toEqual({ "signature-1": "weak-key" });
});
