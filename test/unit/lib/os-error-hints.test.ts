import { mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { withHint } from "../../../lib/os-error-hints.ts";

test("what the operating system refuses comes with its mend", () => {
  try {
    mkdirSync("/dev/null/folder");
    expect.unreachable();
  } catch (error) {
    expect(withHint(error as Error)).toMatch(
      /^ENOTDIR: .*'\/dev\/null\/folder'\. Something .* move it away\.$/,
    );
  }
});

test("any other error's message is left as it is", () => {
  expect(withHint(new Error("core-cat: no"))).toBe("core-cat: no");
});
