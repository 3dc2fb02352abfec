import { escapeControlCharacters } from "../../lib/text/escape-control-characters.ts";
import { quoted } from "../tree-error.ts";

/**
 * This file splits Containerfiles into instructions, as BuildKit's own parser does
 * (frontend/dockerfile/parser, parser.go and directives.go). dockerfile-ast takes 240 ms for a
 * release's 444 files, more than the whole tree may take; this parser takes 15 ms. dockerfile-ast
 * also loses the end of a heredoc where one instruction has two.
 */

/** One instruction of a Containerfile. */
export type Instruction = {
  /** In capitals: `COPY`. */
  readonly keyword: string;
  /** 1-based line where it starts. */
  readonly line: number;
  /** In order, without dashes: `from` -> `stagex/core-musl`; a missing value is empty. */
  readonly flags: readonly Flag[];
  /** The text after the flags, its lines joined, without the bodies of heredocs. */
  readonly rest: string;
  /** In the order of their opening words. */
  readonly heredocs: readonly Heredoc[];
  /** 1-based line where it ends, its heredocs included. */
  readonly lastLine: number;
};

/** A heredoc of an instruction. */
export type Heredoc = {
  /** The word that ends it, without quotes. */
  readonly name: string;
  /** True for `<<-`, which removes leading tabs. */
  readonly chomps: boolean;
  /** As written, with all tabs, each line with its end. */
  readonly content: string;
};

export type Flag = { readonly name: string; readonly value: string };

/** A Containerfile that BuildKit would refuse to parse, and the line of the mistake. */
export class ContainerfileSyntaxError extends Error {
  override readonly name = "ContainerfileSyntaxError";
  readonly line: number;
  readonly allowed: string;

  constructor(line: number, found: string, allowed: string) {
    super(found);
    this.line = line;
    this.allowed = allowed;
  }
}

export type ContainerfileSyntax = {
  readonly instructions: readonly Instruction[];
  /** Parser directives by name in lower case: `syntax`, `escape`, `check`. */
  readonly directives: ReadonlyMap<string, { readonly value: string; readonly line: number }>;
};

/** White space as in Go's unicode.IsSpace. */
const comment = /^\p{White_Space}*#/u;
const heredocInstructions = new Set(["ADD", "COPY", "RUN"]);

/** In bytes. BuildKit reads lines with Go's bufio.Scanner, which fails on a longer one. */
const longestLine = 65_535;

/**
 * Splits a Containerfile into instructions.
 * @throws ContainerfileSyntaxError for a heredoc without an end, a line that is too long, and a
 *   directive that BuildKit refuses
 */
export function parseInstructions(text: string): ContainerfileSyntax {
  const lines = text.split("\n");
  lines[0] = lines[0]?.replace(/^\uFEFF/, "") ?? "";
  // This check of the whole text spares nearly all files the check of each line.
  if (!mayFit(text) || ambiguousCharacter.test(text)) {
    for (const [index, line] of lines.entries()) {
      mustFit(line, index + 1);
      mustBePlain(line, index + 1);
    }
  }
  const directives = parseDirectives(lines);
  const chosen = directives.get("escape");
  const escapeCharacter = chosen?.value ?? "\\";
  if (chosen && escapeCharacter !== "\\" && escapeCharacter !== "`")
    throw new ContainerfileSyntaxError(chosen.line, `# escape=${shortened(escapeCharacter)}`, "\\ or `");
  const continued = continuations[escapeCharacter === "`" ? "`" : "\\"];
  const instructions: Instruction[] = [];
  let next = 0;
  while (next < lines.length) {
    const start = next;
    let logical = "";
    let open = true;
    while (open && next < lines.length) {
      const line = lines[next++] ?? "";
      // Comments and empty lines within a continued instruction are skipped, and do not end it.
      if ((line.includes("#") && comment.test(line)) || (next - 1 > start && line.trim() === "")) {
        if (next - 1 === start) break;
        continue;
      }
      open = line.includes(escapeCharacter) && continued.test(line);
      logical += open ? line.replace(continued, "$1") : line;
    }
    if (logical.trim() === "") continue;
    const instruction = instructionOf(logical, start + 1, escapeCharacter);
    let heredocs: readonly Heredoc[] = [];
    if (heredocInstructions.has(instruction.keyword) && instruction.rest.includes("<<")) {
      [heredocs, next] = readHeredocs(instruction, lines, next);
    }
    const { keyword, line, flags, rest } = instruction;
    instructions.push({ keyword, line, flags, rest, heredocs, lastLine: next });
  }
  return { instructions, directives };
}

/** Cuts a word after 100 characters, for messages. */
function shortened(word: string): string {
  return word.length > 100 ? `${word.slice(0, 100)}…` : word;
}

/** Checks that a text is too short for too long a line; a character takes three bytes at most. */
function mayFit(text: string): boolean {
  return text.length * 3 <= longestLine;
}

function mustFit(line: string, number: number): void {
  if (mayFit(line)) return;
  const size = Buffer.byteLength(line);
  if (size <= longestLine) return;
  throw new ContainerfileSyntaxError(
    number,
    `a line of ${size} bytes`,
    `at most ${longestLine}, as in BuildKit`,
  );
}

/** A character that Go and JavaScript disagree on: as a blank, or as the end of a line. */
const ambiguousCharacter = /[\u0085\uFEFF]|\r(?!$)/;

function mustBePlain(line: string, number: number): void {
  const character = ambiguousCharacter.exec(line)?.[0];
  if (character === undefined) return;
  const found = `the character ${escapeControlCharacters(character)}`;
  throw new ContainerfileSyntaxError(number, found, "blanks, tabs and line ends");
}

type Directive = { readonly value: string; readonly line: number };

/**
 * Reads the directives. BuildKit looks for them twice. Its parser reads `escape` from the file's
 * first lines, however far they are indented. Its detection of the frontend skips a `#!` line, and
 * ignores indented ones.
 */
function parseDirectives(lines: readonly string[]): Map<string, Directive> {
  const parsed = [...directivesIn(lines, 0, (line) => line.trimStart())];
  const first = lines[0]?.startsWith("#!") ? 1 : 0;
  const detected = [...directivesIn(lines, first, (line) => line)];
  return new Map([
    ...detected.filter(([name]) => name !== "escape"),
    ...parsed.filter(([name]) => name === "escape"),
  ]);
}

const directiveNames = new Set(["syntax", "escape", "check"]);

/** Yields the directives up to the first other line, such as one with an unknown name. */
function* directivesIn(
  lines: readonly string[],
  first: number,
  read: (line: string) => string,
): Generator<[string, Directive]> {
  const seen = new Set<string>();
  for (let index = first; index < lines.length; index++) {
    const line = read(lines[index] ?? "");
    if (!line.startsWith("#")) return;
    const [, name = "", written = ""] =
      /^([a-zA-Z][a-zA-Z0-9]*)[\t\f\r ]*=(.+)$/s.exec(line.slice(1).trimStart()) ?? [];
    const known = name.toLowerCase();
    if (!directiveNames.has(known)) return;
    if (seen.has(known)) throw new ContainerfileSyntaxError(index + 1, `a second # ${known}=`, "one of each");
    seen.add(known);
    yield [known, { value: written.trim(), line: index + 1 }];
  }
}

/** The end of a continued line: the escape character, then white space at most. */
const continuations = { "`": /(^|[^`])`[ \t\r]*$/, "\\": /(^|[^\\])\\[ \t\r]*$/ };

/** The fields that an instruction's own line gives. */
type InstructionLine = Omit<Instruction, "heredocs" | "lastLine">;

function instructionOf(logical: string, line: number, escapeCharacter: string): InstructionLine {
  const whole = logical.trim();
  const end = whole.search(/[\t\v\f\r ]/);
  const keyword = end === -1 ? whole : whole.slice(0, end);
  const { words, rest } = flagsOf(whole.slice(keyword.length), escapeCharacter);
  const flags = words.map((word) => {
    // BuildKit treats each byte of a flag as a character, and some of them as blanks.
    if (!/^[ -~]*$/.test(word))
      throw new ContainerfileSyntaxError(line, `the flag ${quoted(`--${word}`)}`, "flags in ASCII");
    const equals = word.indexOf("=");
    return equals === -1
      ? { name: word, value: "" }
      : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { keyword: keyword.toUpperCase(), line, flags, rest: rest.trim() };
}

/** A flag without quotes, escapes and blanks. */
const plainFlag = /--[!#-&(-[\]-_a-~]+/y;

/**
 * Splits the flags off the start of an instruction, unquoted and without their dashes. Works as
 * extractBuilderFlags of split_command.go does.
 */
function flagsOf(text: string, escapeCharacter: string): { words: string[]; rest: string } {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (isSpace(text[at])) at++;
    if (!text.startsWith("--", at)) return { words, rest: text.slice(at) };
    plainFlag.lastIndex = at;
    const end = plainFlag.test(text) ? plainFlag.lastIndex : at;
    if (end > at && (end === text.length || isSpace(text[end]))) {
      words.push(text.slice(at + 2, end));
      at = end;
      continue;
    }
    let word = "";
    let quote = "";
    for (; at < text.length && (quote !== "" || !isSpace(text[at])); at++) {
      const character = text[at] ?? "";
      if (character === quote) quote = "";
      else if (quote === "" && (character === "'" || character === '"')) quote = character;
      else if (character === escapeCharacter) word += text[++at] ?? "";
      else word += character;
    }
    if (word === "--") return { words, rest: text.slice(at) };
    words.push(word.slice(2));
  }
}

function isSpace(character: string | undefined): boolean {
  if (character === undefined) return false;
  const code = character.charCodeAt(0);
  return code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === 0x85 || code === 0xa0;
}

/** A word that opens a heredoc: `<<EOF`, `<<-EOF`, `3<<"EOF"`, and `<< EOF` with blanks. */
const heredocWord = /^\d*<<(-?)([^<]*)$/;

/** Reads the instruction's heredocs. Also returns the index of the line after their bodies. */
function readHeredocs(
  instruction: InstructionLine,
  lines: readonly string[],
  next: number,
): [readonly Heredoc[], number] {
  let at = next;
  const heredocs: Heredoc[] = [];
  // The JSON form of an instruction has no heredocs.
  if (jsonWords(instruction.rest) !== undefined) return [heredocs, at];
  const words = shellWords(instruction.rest).filter(isHeredocWord);
  if (words.length > 0) mustBeReadAlike(instruction, words);
  for (const word of words) {
    const [, dash, name = ""] = heredocWord.exec(word) ?? [];
    const end = name.trimStart().replace(/\\(.)|["']/g, "$1");
    const endsAt = (line: string) =>
      line.includes(end) && (dash === "-" ? line.replace(/^\t+/, "") : line).replace(/\r$/, "") === end;
    const start = at;
    while (at < lines.length && !endsAt(lines[at] ?? "")) at++;
    if (at === lines.length) {
      throw new ContainerfileSyntaxError(
        instruction.line,
        `heredoc ${shortened(word)} without its end`,
        `a line ${shortened(end)}`,
      );
    }
    const content = at === start ? "" : `${lines.slice(start, at).join("\n")}\n`;
    heredocs.push({ name: end, chomps: dash === "-", content });
    at++;
  }
  return [heredocs, at];
}

/**
 * Checks that BuildKit's lexer finds the same heredocs. Where it fails on a line (an open quote, a
 * variable that it cannot expand), it finds none, and reads their bodies as instructions. So beside
 * a heredoc only words that BuildKit and this parser read alike are allowed.
 */
function mustBeReadAlike({ rest, line }: InstructionLine, words: readonly string[]): void {
  const refused = words.find((word) => !/^\d*<<-?[ \t]*(?:[\w.-]+|"[\w. -]+"|'[\w. -]+')$/.test(word));
  if (refused !== undefined)
    throw new ContainerfileSyntaxError(line, `the heredoc ${quoted(refused)}`, "a name of A-Z a-z 0-9 _ . -");
  if (rest.replace(/\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})/g, "").includes("$"))
    throw new ContainerfileSyntaxError(
      line,
      "a heredoc beside a variable with an operator",
      "NAME or {NAME} after the dollar sign",
    );
  if (hasOpenQuote(rest))
    throw new ContainerfileSyntaxError(line, "a heredoc beside an open quote", "a closed one");
}

function hasOpenQuote(text: string): boolean {
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? "";
    if (character === "\\" && quote !== "'") at++;
    else if (character === quote) quote = "";
    else if (quote === "" && (character === "'" || character === '"')) quote = character;
  }
  return quote !== "";
}

/** Checks that the word opens a heredoc, and so is no path. */
export function isHeredocWord(word: string): boolean {
  return (heredocWord.exec(word)?.[2] ?? "").trim() !== "";
}

/** Returns the words of the JSON form, `["a", "b"]`, or undefined for the shell form. */
export function jsonWords(rest: string): string[] | undefined {
  if (!rest.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(rest);
    return Array.isArray(value) && value.every((word) => typeof word === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a shell line's words with quotes and escapes. Blanks after `<<` end no word. */
export function shellWords(rest: string): string[] {
  return rest.match(/(?:<<\s*|"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\[\s\S]|[^\s"'\\]|["'\\])+/g) ?? [];
}
