import { readKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, gpgHome, judged, payload } from "../support/builders/maintainers.ts";

test("rejects a text signature, which ignores line ends", async () => {
  const { gpg, newKey } = await gpgHome();
  newKey("alice", "ed25519");
  const alice = await readKey({ binaryKey: gpg(["--export"]) });
  const outcome = await judged([gpg(["--textmode", "--sign"], payload())], { alice: { keys: [alice] } });
  expect(codesOf(outcome)).toEqual({ "signature-1": "text-mode" });
});
