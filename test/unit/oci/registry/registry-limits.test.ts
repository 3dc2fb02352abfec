import { expect, test } from "vitest";
import { registryLimits, timeFor } from "../../../../oci/registry/registry-limits.ts";
import { lookasideLimits, maxSignatures } from "../../../../trust/signatures/lookaside.ts";

const hour = 3600_000;

test("a command has minutes for documents, and more for larger blobs, up to hours", () => {
  expect(timeFor(0, registryLimits)).toBe(120_000);
  expect(timeFor(16 * 1024 * 1000, registryLimits)).toBe(120_000 + 1_000_000);
  expect(timeFor(2 ** 40, registryLimits)).toBe(6 * hour);
  expect(timeFor(Number.MAX_SAFE_INTEGER, registryLimits)).toBe(6 * hour);
});

test("one image ends within half a day, whatever it is made of", () => {
  expect(registryLimits.image).toBeLessThanOrEqual(12 * hour);
  expect(registryLimits.image).toBeGreaterThan(registryLimits.longest);
  // An answer's first byte, with the client's own three tries of a question, fits into the time of a document.
  expect(3 * registryLimits.patience).toBeLessThanOrEqual(registryLimits.document);
});

test("all signatures of one image are read within a minute, not within one each", () => {
  expect(lookasideLimits.image).toBeLessThanOrEqual(60_000);
  expect(lookasideLimits.file * maxSignatures).toBeGreaterThan(10 * lookasideLimits.image);
});
