import { enums, revokeKey } from "openpgp";
import { describe, expect, test } from "vitest";
import { judgedWith, keyFolder, loneRevocation, verdictOf } from "../support/builders/key-folder.ts";
import { codesOf, daysFromNow, newKey, signedBy } from "../support/builders/maintainers.ts";

const reasons = {
  compromised: enums.reasonForRevocation.keyCompromised,
  "no reason": enums.reasonForRevocation.noReason,
  retired: enums.reasonForRevocation.keyRetired,
  superseded: enums.reasonForRevocation.keySuperseded,
};

describe.each(Object.entries(reasons))("a revocation dated ahead of the clock is applied: %s", (_, flag) => {
  test.each([0.001, 1, 3650])("by %d days", async (days) => {
    const alice = await newKey("alice");
    const signatures = [await signedBy(alice)];
    const people = { alice: { keys: [alice] } };
    const revocation = await loneRevocation(alice, daysFromNow(days), flag);
    const certificate = alice.toPublic().armor();
    const { publicKey } = await revokeKey({
      ...{ key: alice, date: daysFromNow(days), reasonForRevocation: { flag }, format: "object" as const },
    });
    const revoked = publicKey.armor();
    const ways = [
      { "alice.asc": certificate, "rev.asc": revocation },
      { "alice.asc": revoked },
      { "1.asc": certificate, "2.asc": revoked },
      { "1.asc": revoked, "2.asc": certificate },
    ];
    for (const files of ways) {
      const outcome = await judgedWith(await keyFolder(files), signatures, people);
      expect(codesOf(outcome)).toEqual({ "signature-1": "revoked-key" });
      expect(verdictOf(outcome)).toBe("not met");
    }
  });
});
