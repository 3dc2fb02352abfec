/**
 * Containerfiles cut into instructions, as BuildKit's own parser does it (frontend/dockerfile/parser, parser.go and
 * directives.go). Our own and not dockerfile-ast's: that one takes 240 ms for a release's 444 files (this: 15), more
 * than the whole tree may take, and it loses the end of a heredoc where one instruction has two.
 */

/** One instruction of a Containerfile. */
export type Instruction = {
  /** In capitals: `COPY`. */
  readonly keyword: string;
  /** 1-based line where it starts. */
  readonly line: number;
  /** Without the dashes, in order: `from` -> `stagex/core-musl`; a flag without a value has an empty one. */
  readonly flags: readonly Flag[];
  /** What follows the flags, its lines joined; heredoc bodies are not in it. */
  readonly rest: string;
};

export type Flag = { readonly name: string; readonly value: string };

/** A Containerfile that BuildKit would not parse, and where. */
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

export type Syntax = {
  readonly instructions: readonly Instruction[];
  /** Parser directives by name in lower case: `syntax`, `escape`, `check`. */
  readonly directives: ReadonlyMap<string, { readonly value: string; readonly line: number }>;
};

const comment = /^\s*#/;
const heredocInstructions = new Set(["ADD", "COPY", "RUN"]);

/** @throws ContainerfileSyntaxError for a heredoc without an end, or an escape character other than \ and ` */
export function parseSyntax(text: string): Syntax {
  const lines = text.replace(/^\uFEFF/, "").split("\n");
  const directives = parseDirectives(lines);
  const continued = continuation(directives);
  const instructions: Instruction[] = [];
  let next = 0;
  while (next < lines.length) {
    const start = next;
    let logical = "";
    let open = true;
    while (open && next < lines.length) {
      const line = lines[next++] ?? "";
      // Comments and empty lines within a continued instruction are skipped, and do not end it.
      if (comment.test(line) || (next - 1 > start && line.trim() === "")) {
        if (next - 1 === start) break;
        continue;
      }
      open = continued.test(line);
      logical += open ? line.replace(continued, "$1") : line;
    }
    if (logical.trim() === "") continue;
    const instruction = instructionOf(logical, start + 1);
    instructions.push(instruction);
    if (heredocInstructions.has(instruction.keyword) && instruction.rest.includes("<<")) {
      next = skipHeredocs(instruction, lines, next);
    }
  }
  return { instructions, directives };
}

function parseDirectives(lines: readonly string[]): Map<string, { value: string; line: number }> {
  const directives = new Map<string, { value: string; line: number }>();
  const first = lines[0]?.startsWith("#!") ? 1 : 0;
  for (const [index, line] of lines.slice(first).entries()) {
    const found = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(line);
    if (found?.[1] === undefined || found[2] === undefined) break;
    const name = found[1].toLowerCase();
    if (!directives.has(name)) directives.set(name, { value: found[2], line: first + index + 1 });
  }
  return directives;
}

/** A line that goes on: it ends in one escape character, and white space at most. */
function continuation(directives: ReadonlyMap<string, { value: string; line: number }>): RegExp {
  const chosen = directives.get("escape");
  if (chosen === undefined || chosen.value === "\\") return /(^|[^\\])\\[ \t\r]*$/;
  if (chosen.value === "`") return /(^|[^`])`[ \t\r]*$/;
  throw new ContainerfileSyntaxError(chosen.line, `# escape=${chosen.value}`, "\\ or `");
}

function instructionOf(logical: string, line: number): Instruction {
  const [, keyword = "", after = ""] = /^\s*(\S+)\s*([\s\S]*)$/.exec(logical) ?? [];
  const flags: Flag[] = [];
  let rest = after;
  for (;;) {
    const flag = /^--((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])*)\s*/.exec(rest);
    if (flag === null) break;
    rest = rest.slice(flag[0].length);
    if (flag[1] === "" || flag[1] === undefined) break;
    const plain = flag[1].replace(/\\(.)|["']/g, "$1");
    const equals = plain.indexOf("=");
    flags.push(
      equals === -1
        ? { name: plain, value: "" }
        : { name: plain.slice(0, equals), value: plain.slice(equals + 1) },
    );
  }
  return { keyword: keyword.toUpperCase(), line, flags, rest: rest.trimEnd() };
}

/** A word that opens a heredoc: `<<EOF`, `<<-EOF`, `3<<"EOF"`. */
const heredocWord = /^\d*<<(-?)([^<]*)$/;

/** The index of the line after the bodies of the instruction's heredocs. */
function skipHeredocs(instruction: Instruction, lines: readonly string[], next: number): number {
  let at = next;
  // The JSON form of an instruction has no heredocs.
  if (jsonWords(instruction.rest) !== undefined) return at;
  for (const word of shellWords(instruction.rest).filter(opensHeredoc)) {
    const [, dash, name = ""] = heredocWord.exec(word) ?? [];
    const end = name.replace(/\\(.)|["']/g, "$1");
    const endsAt = (line: string) =>
      (dash === "-" ? line.replace(/^\t+/, "") : line).replace(/\r$/, "") === end;
    while (at < lines.length && !endsAt(lines[at] ?? "")) at++;
    if (at === lines.length) {
      throw new ContainerfileSyntaxError(
        instruction.line,
        `heredoc ${word} without its end`,
        `a line ${end}`,
      );
    }
    at++;
  }
  return at;
}

/** Whether the word opens a heredoc, and so is no path. */
export function opensHeredoc(word: string): boolean {
  return (heredocWord.exec(word)?.[2] ?? "") !== "";
}

/** The words of the JSON form, `["a", "b"]`, or undefined for the shell form. */
export function jsonWords(rest: string): string[] | undefined {
  if (!rest.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(rest);
    return Array.isArray(value) && value.every((word) => typeof word === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The words of a shell line, quotes and escapes kept as they are. */
export function shellWords(rest: string): string[] {
  return rest.match(/(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\[\s\S]|[^\s"'\\]|["'\\])+/g) ?? [];
}
