import { escapeControlCharacters, invisible, isPlain } from "./escape-control-characters.ts";

declare const escaped: unique symbol;

/**
 * Text that a terminal, a log, a CI system and Pulumi's display show and do not obey. Only the functions of this file make one. There
 * is no function for HTML, since nothing here writes HTML: `<` and `&` stay as they are.
 */
export type Printable = string & { readonly [escaped]: true };

/** Template tag: escapes each value, line breaks too, so that others' text can't begin a line of its own. */
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

/** Escapes a program's line of output for one line of a log: its tabs stay. */
export function printableOutput(line: string): Printable {
  return inert(line.replace(/[^\t]+/g, escapeControlCharacters));
}

/**
 * Escapes a text of several lines, such as an error's message or a stack: line ends and tabs stay. The lines themselves must be ours;
 * others' text in them goes through {@link printable} before.
 */
export function printableBlock(text: string): Printable {
  return inert(text.replace(/[^\n\t]+/g, escapeControlCharacters));
}

/**
 * The same of an error's message or stack that may have others' text in it as it came: the lines after the first are indented, so that
 * none can be taken for one of ours.
 */
export function printableMessage(text: string): Printable {
  return printableBlock(text.replace(/\n(?![ \t]|$)/g, "\n  "));
}

/** Joins printable texts, each a line or more of its own. */
export function printableLines(lines: Iterable<Printable>): Printable {
  return [...lines].join("\n") as Printable;
}

/**
 * JSON of a value, of which a terminal shows every character: others are written as `\uXXXX`, and it is still the same JSON value.
 * @param indent as for JSON.stringify
 */
export function printableJson(value: unknown, indent = 2): Printable {
  return printableJsonText(JSON.stringify(value, null, indent));
}

/** The same of JSON that is text already. Outside of its strings, JSON has nothing that is escaped but its line ends. */
export function printableJsonText(json: string): Printable {
  if (isPlain(json)) return inert(json);
  return inert(
    json.replace(invisible, (character) => (/[\n\r\t]/.test(character) ? character : codeUnits(character))),
  );
}

/** JSON writes a character beyond the Basic Multilingual Plane as two surrogates (RFC 8259, section 7). */
function codeUnits(character: string): string {
  return character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}

/**
 * Commands that are plain text, and are looked for in all that a program prints:
 * - `##[…]` and `##vso[…]` anywhere in a line, of GitHub Actions, Azure Pipelines and TeamCity;
 * - `<{%…%}>`, Pulumi's colours (sdk: go/common/diag/colors): one that it does not know ends the engine with a Go panic, one that is
 *   not closed swallows the rest.
 */
const inlineCommands = /#(?=[a-z]*\[)(?<=##)|<(?=\{%)/gi;
/** `::error …::` of GitHub Actions, which blanks may precede. */
const lineCommands = /^([^\S\n\r\u2028\u2029]*):(?=:)/gm;

/** Writes a character of each command as its escape, which in JSON's strings means the same. */
function inert(text: string): Printable {
  // Nearly no text has any, and an expression takes longer to see that.
  const hasInline = text.includes("##") || text.includes("<{%");
  const inlined = hasInline
    ? text.replace(inlineCommands, (character) => (character === "#" ? "\\u0023" : "\\u003c"))
    : text;
  return (inlined.includes("::") ? inlined.replace(lineCommands, "$1\\u003a") : inlined) as Printable;
}
