import { mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { withHint } from "../../../lib/os-error-hints.ts";

test("adds a hint to an error of the operating system", () => {
  try {
    mkdirSync("/dev/null/folder");
    expect.unreachable();
  } catch (error) {
    expect(withHint(error as Error)).toMatch(
      /^ENOTDIR: .*'\/dev\/null\/folder'\. Something .* move it away\.$/,
    );
  }
});

test("leaves other messages as they are", () => {
  expect(withHint(new Error("core-cat: no"))).toBe("core-cat: no");
});
