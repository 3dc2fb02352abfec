import { readKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, gpgHome, judged, payload } from "../support/builders/maintainers.ts";

const oldHash = ["--digest-algo=SHA1", "--cert-digest-algo=SHA1", "--allow-weak-digest-algos"];

test("rejects a certificate that is bound by SHA-1", async () => {
  const { gpg } = await gpgHome();
  gpg([...oldHash, "--quick-gen-key", "alice <alice@seed-tree.example>", "rsa2048", "sign", "1y"]);
  const alice = await readKey({ binaryKey: gpg(["--export"]) });
  const outcome = await judged([gpg(["--digest-algo=SHA512", "--sign"], payload())], {
    alice: { keys: [alice] },
  });
  expect(codesOf(outcome)).toEqual({ "signature-1": "invalid-key" });
});

test("rejects a signature over SHA-1", async () => {
  const { gpg, newKey } = await gpgHome();
  newKey("alice", "rsa2048");
  const alice = await readKey({ binaryKey: gpg(["--export"]) });
  const outcome = await judged([gpg([...oldHash, "--sign"], payload())], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "weak-hash" });
});

test("applies a revocation over SHA-1", async () => {
  const { gpg, newKey: gpgKey } = await gpgHome();
  const fingerprint = gpgKey("alice", "rsa2048");
  const signature = gpg(["--digest-algo=SHA512", "--sign"], payload());
  const before = await readKey({ binaryKey: gpg(["--export"]) });
  expect(codesOf(await judged([signature], { alice: { keys: [before] } }))).toEqual({});
  const answers = "y\n1\n\ny\n";
  const revocation = gpg(
    [...oldHash, "--no-batch", "--no-tty", "--command-fd=0", "--status-fd=2", "--gen-revoke", fingerprint],
    answers,
  );
  gpg(["--import"], revocation);
  const revoked = await readKey({ binaryKey: gpg(["--export"]) });
  const outcome = await judged([signature], { alice: { keys: [before, revoked] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "revoked-key" });
});
