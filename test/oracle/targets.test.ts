import { expect, test } from "vitest";
import { compareWithGenerator } from "./generator-comparison.ts";

// Needs a checkout of a StageX release (from 2025.03.0 on) and python3 >= 3.11, so vitest.config.ts
// includes it only for STAGEX_TREE=DIR npm test
test("StageX's own generator agrees with us on every image", async () => {
  const { images, differences, undeclared } = await compareWithGenerator(process.env.STAGEX_TREE ?? "");
  expect(differences).toEqual([]);
  expect(undeclared).toBe(0);
  expect(images).toBeGreaterThan(300);
});
