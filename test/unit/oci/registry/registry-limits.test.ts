import { expect, test } from "vitest";
import { registryLimits, timeoutFor } from "../../../../oci/registry/registry-limits.ts";
import { defaultLookasideLimits } from "../../../../trust/signatures/lookaside-server.ts";
import { maxSignatures } from "../../../../trust/signatures/signature-file.ts";

const hour = 3600_000;

test("timeoutFor gives minutes to documents, and up to six hours to large blobs", () => {
  expect(timeoutFor(0, registryLimits)).toBe(120_000);
  expect(timeoutFor(16 * 1024 * 1000, registryLimits)).toBe(120_000 + 1_000_000);
  expect(timeoutFor(2 ** 40, registryLimits)).toBe(6 * hour);
  expect(timeoutFor(Number.MAX_SAFE_INTEGER, registryLimits)).toBe(6 * hour);
});

test("an image's time ends within half a day", () => {
  expect(registryLimits.imageTimeout).toBeLessThanOrEqual(12 * hour);
  expect(registryLimits.imageTimeout).toBeGreaterThan(registryLimits.commandTimeout);
  // An answer's first byte, with the client's own three tries of a question, fits into the time of a document.
  expect(3 * registryLimits.responseTimeout).toBeLessThanOrEqual(registryLimits.documentTimeout);
});

test("all signatures of one image share one time limit of at most a minute", () => {
  expect(defaultLookasideLimits.image).toBeLessThanOrEqual(60_000);
  expect(defaultLookasideLimits.file * maxSignatures).toBeGreaterThan(10 * defaultLookasideLimits.image);
});
