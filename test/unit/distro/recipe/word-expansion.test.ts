// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Containerfiles
import { expect, test } from "vitest";
import { expandWord, type Variable } from "../../../../distro/recipe/word-expansion.ts";

const known: Readonly<Record<string, Variable>> = {
  X: { value: "core-a" },
  EMPTY: { value: "" },
  TARGETARCH: "unknown",
};
const expanded = (word: string, escapeToken = "\\") =>
  expandWord(word, (name) => known[name] ?? "unset", escapeToken, 10_000);

// The values on the right are the results of BuildKit v0.34.2's lex.go.
test.each([
  ["stagex/$X", "stagex/core-a"],
  ["stagex/${X}", "stagex/core-a"],
  ["${X:+stagex/}$X", "stagex/core-a"],
  ["${NONE:+x}y", "y"],
  ["${EMPTY+x}${EMPTY:+y}", "x"],
  ["${EMPTY-x}${EMPTY:-y}", "y"],
  ["${NONE:-${ALSO:-$X}}", "core-a"],
  ["${NONE+${TARGETARCH}}z", "z"],
  ["${X%-a}-${X#core-}", "core-a"],
  ["${X%-b}", "core-a"],
  ["${X:?needed}", "core-a"],
  ['"stagex/$X"', "stagex/core-a"],
  ["'$X'", "$X"],
  ["\\$X", "$X"],
  ['"a\\b\\"c"', 'a\\b"c'],
  ["$", "$"],
  ["a$/b", "a$/b"],
])("expands %s to %s", (word, value) => {
  expect(expanded(word)).toBe(value);
});

test("escapes with the escape directive's character", () => {
  expect(expanded("`$X\\", "`")).toBe("$X\\");
});

test.each([
  "$TARGETARCH",
  "$NONE",
  "${X",
  "${}",
  "${X/a/b}",
  "${X%*}",
  "'open",
  '"open',
  "${NONE?x}",
  "${X:%a}",
  // BuildKit takes these for names, none of which is a build argument.
  "s${--tail}",
  "$$",
  "$1",
  "$@",
  "${1-x}",
  "$Xé",
  "${Xé-x}",
  "$é",
])("leaves %s to the build", (word) => expect(expanded(word)).toBeUndefined());

test("does not take the rest after a part that is too long for the whole", () => {
  const long = "a".repeat(10_001);
  expect(expanded(`\${X-\${X-"${long}'"'}}tail`)).toBeUndefined();
  expect(expanded(`\${NONE-${long}}`)?.length).toBeGreaterThan(10_000);
});

test("ends early for words that nest or double without end", () => {
  const started = performance.now();
  for (const part of ["${A-", "$X", "${X", '"', "${X+$X", "'"]) expanded(part.repeat(20_000));
  expect(performance.now() - started).toBeLessThan(2000);
});
