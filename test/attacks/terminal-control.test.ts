import { expect, test } from "vitest";
import { describeVerdict } from "../../trust/quorum/quorum.ts";
import { judged, newKey, payload, signedBy } from "../support/builders/maintainers.ts";

const clearScreen = "\u001b[2J\u009b2J\u202e";

test("control characters in files of others never reach the terminal", async () => {
  const alice = await newKey("alice");
  const files = [
    Buffer.from(`junk ${clearScreen}`),
    await signedBy(alice, clearScreen),
    await signedBy(alice, payload({ reference: `stagex/core-seed:${clearScreen}` })),
    await signedBy(alice, JSON.stringify({ [clearScreen]: 1 })),
    await signedBy(alice, `{"${clearScreen.slice(4)}":1,"${clearScreen.slice(4)}":1}`),
    await signedBy(alice, payload({ optional: { cpuVendor: clearScreen } })),
  ];
  const rule = { threshold: 2, vendors: 1 };
  const outcome = await judged(files, { alice: { keys: [alice] } }, rule);
  expect(outcome.rejected).toHaveLength(5);
  expect(describeVerdict(outcome, rule) + JSON.stringify(outcome.accepted)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});
