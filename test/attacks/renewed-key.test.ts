import { readKey } from "openpgp";
import { expect, test } from "vitest";
import { codesOf, daysFromNow, gpgHome, judged, payload } from "../support/builders/maintainers.ts";

test("accepts an expiry that gpg has renewed only if the renewed certificate is there", async () => {
  const { gpg, newKey } = await gpgHome();
  const fingerprint = newKey("alice", "ed25519"); // for a year
  const signature = gpg(["--sign"], payload());
  const old = await readKey({ binaryKey: gpg(["--export"]) });
  gpg(["--quick-set-expire", fingerprint, "3y"]);
  const renewed = await readKey({ binaryKey: gpg(["--export"]) });
  const clean = await readKey({ binaryKey: gpg(["--export-options=export-minimal", "--export"]) });
  const inTwoYears = daysFromNow(2 * 365);
  const rule = { threshold: 1, vendors: 0 };
  for (const keys of [[renewed], [clean], [old, renewed], [clean, old]]) {
    expect(await judged([signature], { alice: { keys } }, rule, inTwoYears)).toMatchObject({ met: true });
  }
  const outcome = await judged([signature], { alice: { keys: [old] } }, rule, inTwoYears);
  expect(codesOf(outcome)).toEqual({ "signature-1": "expired-key" });
});
