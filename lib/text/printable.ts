import { escapeControlCharacters, invisible, isPlain } from "./escape-control-characters.ts";

declare const escaped: unique symbol;

/**
 * Text that a terminal, a log, a CI system and Pulumi's display show and do not obey. Only the
 * functions of this file make it. None is for HTML, which nothing here writes: `<` and `&` stay as
 * they are.
 */
export type Printable = string & { readonly [escaped]: true };

/**
 * Escapes each value of a template, line breaks included, so that foreign text can't begin a line
 * of its own.
 */
export function printable(
  fixed: TemplateStringsArray,
  ...values: readonly (string | number | boolean)[]
): Printable {
  return inert(String.raw({ raw: fixed }, ...values.map((value) => escapeControlCharacters(String(value)))));
}

/** Escapes a text for one line. */
export function printableLine(text: string): Printable {
  return inert(escapeControlCharacters(text));
}

/** Escapes a line of a program's output for a log. Tabs stay. */
export function printableOutput(line: string): Printable {
  return inert(line.replace(/[^\t]+/g, escapeControlCharacters));
}

/**
 * Escapes a text of several lines, such as an error's message or a stack. Line ends and tabs stay,
 * so foreign text in it must have gone through {@link printable} before.
 */
export function printableBlock(text: string): Printable {
  return inert(text.replace(/[^\n\t]+/g, escapeControlCharacters));
}

/**
 * Escapes an error's message or stack that may have foreign text in it. All lines but the first are
 * indented, so that none passes for a line of this program.
 */
export function printableMessage(text: string): Printable {
  return printableBlock(text.replace(/\n(?![ \t]|$)/g, "\n  "));
}

/** Joins printable texts of one or more lines each. */
export function printableLines(lines: Iterable<Printable>): Printable {
  return [...lines].join("\n") as Printable;
}

/**
 * Formats a value as JSON of which a terminal shows every character. Other characters are written
 * as `\uXXXX`, which leaves the value the same.
 * @param indent as for JSON.stringify
 */
export function printableJson(value: unknown, indent = 2): Printable {
  return printableJsonText(JSON.stringify(value, null, indent));
}

/**
 * Escapes JSON that is text already. Outside of strings, only its line ends would need it, and they
 * stay.
 */
export function printableJsonText(json: string): Printable {
  if (isPlain(json)) return inert(json);
  return inert(
    json.replace(invisible, (character) => (/[\n\r\t]/.test(character) ? character : codeUnits(character))),
  );
}

/**
 * Writes a character as JSON does: two surrogates beyond the Basic Multilingual Plane (RFC 8259,
 * section 7).
 */
function codeUnits(character: string): string {
  return character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}

/**
 * Commands in plain text that other programs find anywhere in the output:
 * - `##[…]` and `##vso[…]`, of GitHub Actions, Azure Pipelines and TeamCity;
 * - `<{%…%}>`, Pulumi's colours (sdk: go/common/diag/colors): an unknown one ends the engine with a
 *   Go panic, an unclosed one hides the rest.
 */
const inlineCommands = /#(?=[a-z]*\[)(?<=##)|<(?=\{%)/gi;
/** `::error …::` of GitHub Actions at the beginning of a line, after any blanks. */
const lineCommands = /^([^\S\n\r\u2028\u2029]*):(?=:)/gm;

/** Writes one character of each command as its escape, which means the same in JSON's strings. */
function inert(text: string): Printable {
  // Nearly no text has a command, and this test is quicker than an expression.
  const hasInline = text.includes("##") || text.includes("<{%");
  const inlined = hasInline
    ? text.replace(inlineCommands, (character) => (character === "#" ? "\\u0023" : "\\u003c"))
    : text;
  return (inlined.includes("::") ? inlined.replace(lineCommands, "$1\\u003a") : inlined) as Printable;
}
