import fc from "fast-check";
import { expect, test } from "vitest";
import { compileGlob } from "../../../../lib/text/glob.ts";

/** The same by backtracking, which is fine for names this short. */
function asExpression(pattern: string): RegExp {
  const source = pattern.replace(/[.*+?^${}()|[\]\\]/g, (sign) => {
    if (sign === "*") return ".*";
    return sign === "?" ? "." : `\\${sign}`;
  });
  return new RegExp(`^${source}$`, "su");
}

test.each([
  ["*", ""],
  ["?", "\u{1F600}"],
  ["a*b", "a\nb"],
  ["**a", "ba"],
])("%j matches %j", (pattern, name) => {
  expect(compileGlob(pattern)(name)).toBe(true);
});

test.each([
  ["", "a"],
  ["a*a", "a"],
  ["*a?", "a"],
  ["?", ""],
])("%j does not match %j", (pattern, name) => {
  expect(compileGlob(pattern)(name)).toBe(false);
});

test("matches what the equivalent regular expression matches", () => {
  const text = (letters: string) => fc.string({ unit: fc.constantFrom(...letters), maxLength: 12 });
  fc.assert(
    fc.property(text("ab*?."), text("ab."), (pattern, name) => {
      expect(compileGlob(pattern)(name)).toBe(asExpression(pattern).test(name));
    }),
    { numRuns: 3000 },
  );
});
