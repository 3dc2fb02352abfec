import { expect, test } from "vitest";
import { escapeControlCharacters } from "../../../../lib/text/escape-control-characters.ts";

test("leaves readable characters as they are", () => {
  expect(escapeControlCharacters("Größe: 3 × 4 — 日本語")).toBe("Größe: 3 × 4 — 日本語");
});

test.each([
  ["\u001b[31mred", "\\u001b[31mred"],
  ["one\ntwo\r\tthree", "one\\u000atwo\\u000d\\u0009three"],
  ["\u009b2J", "\\u009b2J"],
  ["\u202egnp.exe", "\\u202egnp.exe"],
  ["a\u2028b\u200bc", "a\\u2028b\\u200bc"],
  ["\u{e0041}", "\\u{e0041}"],
])("escapes %j", (text, escaped) => {
  expect(escapeControlCharacters(text)).toBe(escaped);
});
