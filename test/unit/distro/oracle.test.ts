import { describe, expect, test } from "vitest";
import { agreement } from "../../oracle/agreement.ts";

const checkout = process.env.STAGEX_TREE ?? "";

// Needs a checkout of a StageX release (from 2025.03.0 on) and python3 >= 3.11: STAGEX_TREE=DIR npm test
describe.skipIf(checkout === "")("StageX's own generator (STAGEX_TREE)", () => {
  test("agrees with us on every image", async () => {
    const { images, differences, undeclared } = await agreement(checkout);
    expect(differences).toEqual([]);
    expect(undeclared).toBe(0);
    expect(images).toBeGreaterThan(300);
  });
});
