import fc from "fast-check";
import { expect, test } from "vitest";
import {
  printable,
  printableBlock,
  printableJson,
  printableJsonText,
  printableLine,
  printableLines,
} from "../../../../lib/text/printable.ts";

const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const invisibleInBlock = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** As the runners of GitHub and Azure, and Pulumi's display, look for them. */
const commands = /^\s*::|##[a-z]*\[|<\{%/im;

/** Texts that are likely to have what matters. */
const parts = ["::", ":", "#", "##", "[", "vso[", "<{%", "<", "{%", "%}>", "\n", "\r", "\t", " ", "\u00a0"];
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...parts,
        "\u001b[2J",
        "\u009b",
        "\u202e",
        "\u2028",
        "\u{e0041}",
        "\\",
        "\\u{e0041}",
        '"',
      ),
      fc.string({ unit: "binary", maxLength: 4 }),
    ),
    { maxLength: 30 },
  )
  .map((all) => all.join(""));

const runs = { numRuns: 5_000 };

test("a printable line is one line without control characters or commands", () => {
  fc.assert(
    fc.property(hostile, hostile, (one, other) => {
      const line = printable`${one}${other}`;
      expect(line).not.toMatch(invisible);
      expect(line).not.toMatch(commands);
      expect(printableLine(line)).toBe(line);
    }),
    runs,
  );
});

test("a printable block has no control characters but line ends and tabs, and no commands", () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const block = printableBlock(text);
      expect(block).not.toMatch(invisibleInBlock);
      expect(block).not.toMatch(commands);
      expect(block.split("\n")).toHaveLength(text.split("\n").length);
      expect(printableBlock(block)).toBe(block);
    }),
    runs,
  );
});

test("printable JSON is the same value, whatever its indentation", () => {
  const json = fc.jsonValue().chain((value) => fc.tuple(fc.constant(value), hostile, hostile));
  fc.assert(
    fc.property(json, fc.constantFrom(0, 2), ([value, name, text], indent) => {
      const whole = { [name]: [text, value] };
      const shown = printableJson(whole, indent);
      expect(JSON.parse(shown)).toEqual(JSON.parse(JSON.stringify(whole)));
      expect(shown).not.toMatch(invisibleInBlock);
      expect(shown).not.toMatch(commands);
      expect(printableJsonText(shown)).toBe(shown);
    }),
    runs,
  );
});

test("leaves readable text as it is", () => {
  const text = "Größe: 3 × 4 — 日本語 👍 a::b # c [d] <e> 100 % \\u001b";
  expect(printable`${text}, ${4}, ${true}`).toBe(`${text}, 4, true`);
  expect(printableBlock(`${text}\n\t${text}`)).toBe(`${text}\n\t${text}`);
  expect(printableJson({ text })).toBe(JSON.stringify({ text }, null, 2));
});

test.each([
  ["a\n::error::b", "a\\u000a::error::b"],
  ["\u00a0 ::error::b", "\u00a0 \\u003a:error::b"],
  ["a ##[error]b ##vso[task.complete]", "a #\\u0023[error]b #\\u0023vso[task.complete]"],
  ["<{%fg 1%}>red", "\\u003c{%fg 1%}>red"],
  ["\u001b[0Ksection_start:0:a\r\u001b[0K", "\\u001b[0Ksection_start:0:a\\u000d\\u001b[0K"],
])("writes %j as %s", (text, shown) => {
  expect(printableLine(text)).toBe(shown);
});

test("escapes a command that only joining two texts makes", () => {
  expect(printable`${"#"}${"#["}${"x"}`).toBe("#\\u0023[x");
  expect(printable`  ${":"}${":error::"}`).toBe("  \\u003a:error::");
});

test("keeps the template's own line ends, and joins lines", () => {
  expect(printable`a\n${"b\nc"}`).toBe("a\nb\\u000ac");
  expect(printableLines([printable`a`, printable`${"b\n"}`])).toBe("a\nb\\u000a");
});

test("takes time in proportion to the text's length", () => {
  for (const text of [
    "##".repeat(200_000),
    `##${"a".repeat(400_000)}`,
    " ".repeat(400_000),
    "\n ".repeat(200_000),
    "<{".repeat(200_000),
  ]) {
    const started = performance.now();
    printableBlock(text);
    printableJson(text);
    expect(performance.now() - started).toBeLessThan(2_000);
  }
});
