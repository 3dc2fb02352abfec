import { expect, test } from "vitest";
import { reportText } from "../../../../cli/verify/report.ts";
import type { VerifyResult } from "../../../../cli/verify/verify-image.ts";

const unsigned = (image: string): VerifyResult => ({
  ...{ image, reference: null, digest: null, platform: null, extent: null, statements: null },
  ...{ answer: "not met", reason: "0 of 2 people, 0 of 2 vendors" },
  quorum: { met: false, people: 0, vendors: 0, accepted: [], rejected: [], doubts: [] },
});

test("groups unsigned images, and lists one with a rejected signature by itself", () => {
  const rejected = [{ file: "signature-1", code: "expired-key", reason: "the key has expired" }] as const;
  const odd = unsigned("core-odd");
  const images = Array.from({ length: 24 }, (_, index) => `core-${index}`);
  const text = reportText([
    ...images.map(unsigned),
    { ...odd, quorum: { ...unsigned("").quorum, rejected } as VerifyResult["quorum"] },
  ]);
  expect(text.match(/0 of 2 people/g)).toHaveLength(2);
  expect(text).toContain(
    "core-0, core-1, core-2, core-3, core-4, core-5, core-6, core-7, core-8, core-9 and 14 more: not met: 0 of 2 people, 0 of 2 vendors",
  );
  expect(text).toContain("core-odd: not met: 0 of 2 people, 0 of 2 vendors\n  signature-1  does not count");
  expect(text).toContain("0 of 25 met, 25 not met");
});
