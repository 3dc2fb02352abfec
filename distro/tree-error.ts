import { limitPerKind } from "../lib/text/limit-per-kind.ts";
import { type Printable, printable } from "../lib/text/printable.ts";

/** A problem of a tree: its place, the text found, the allowed values, and the fixing command. */
export type TreeProblem = {
  /** Path relative to the tree; the tree's own path for a problem of the whole tree. */
  readonly file: string;
  /** 1-based. */
  readonly line?: number;
  /** Such as `sources.gcc.hash`, or the instruction's name in a Containerfile. */
  readonly field?: string;
  readonly found: string;
  readonly allowed: string;
  /** The one command that fixes it, where there is one. */
  readonly fix?: string;
};

/** The most problems of one file that a reader collects before it stops. */
export const maxProblemsPerFile = 100;

/** The most lines of a message, and the most characters before its last line. */
const mostLines = 200;
const mostCharacters = 100_000;

/** All problems of a tree. The message is bounded; `problems` has all that were collected. */
export class TreeError extends Error {
  readonly problems: readonly TreeProblem[];

  constructor(problems: readonly TreeProblem[]) {
    super(boundedText(limitPerKind(problems, kindOf, formatProblem, moreText)));
    this.name = "TreeError";
    this.problems = problems;
  }
}

/** Formats mistakes in fields that builds do not read, the first ten of each kind. */
export function formatWarnings(warnings: readonly TreeProblem[]): Printable[] {
  return limitPerKind(warnings, kindOf, formatProblem, moreText);
}

function boundedText(lines: readonly string[]): string {
  let characters = 0;
  const fitting = lines.slice(0, mostLines).filter((line) => {
    characters += line.length;
    return characters <= mostCharacters;
  });
  const left = lines.length - fitting.length;
  return [...fitting, ...(left > 0 ? [`… and ${left} more`] : [])].join("\n");
}

/**
 * Formats a problem:
 * `packages/core/gcc/package.toml:7: sources.gcc.hash: found "abc", allowed: 64 hex digits (fix: …)`.
 */
export function formatProblem(problem: TreeProblem): Printable {
  const file = shortened(problem.file);
  const where = problem.line === undefined ? file : `${file}:${problem.line}`;
  const field = problem.field === undefined ? "" : `${shortened(problem.field)}: `;
  const found = shortened(problem.found);
  const fix = problem.fix === undefined ? "" : ` (fix: ${shortened(problem.fix)})`;
  return printable`${where}: ${field}found ${found}, allowed: ${shortened(problem.allowed)}${fix}`;
}

/** The longest part of a problem, in characters: it may quote any name. A path has up to 4096. */
const longestPart = 4200;

/** Removes the middle of a text that exceeds {@link longestPart}. */
function shortened(text: string): string {
  if (text.length <= longestPart) return text;
  return `${text.slice(0, 100)} … ${text.length - 200} more characters … ${text.slice(-100)}`;
}

/** Returns the kind of a problem. Names differ within a kind; the allowed values do not. */
function kindOf({ field = "", allowed }: TreeProblem): string {
  const names = field.split(".");
  return `${names[0]}.${names.length > 1 ? names.at(-1) : ""}: ${allowed}`;
}

function moreText(count: number, { field, allowed }: TreeProblem): Printable {
  const of = field === undefined ? "" : ` of ${shortened(field)}`;
  return printable`and ${count} more${of}, allowed: ${shortened(allowed)}`;
}

/** Quotes a value as one bounded line: a tree's text may hold anything, even control characters. */
export function quoted(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(pruned(value, 0));
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return typeof value === "object" || typeof value === "string" ? short : `${short} (a ${typeof value})`;
}

/** Returns the part of a value that a quote can show: cuts texts, tables and deep levels. */
function pruned(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "string") return value.slice(0, 121);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (depth > 20) return "…";
  if (Array.isArray(value)) return value.slice(0, 121).map((inner) => pruned(inner, depth + 1));
  const members = Object.entries(value).slice(0, 121);
  return Object.fromEntries(members.map(([name, inner]) => [name.slice(0, 121), pruned(inner, depth + 1)]));
}

/** Formats a cycle as one bounded line: `a -> b -> a`. */
export function formatCycle(path: readonly string[]): string {
  if (path.length <= 20) return `the cycle ${path.join(" -> ")}`;
  const left = `… ${path.length - 20} more …`;
  return `the cycle ${[...path.slice(0, 10), left, ...path.slice(-10)].join(" -> ")}`;
}

/** Runs one reader. Adds its problems to those of the tree, and then returns undefined. */
export function collectProblems<T>(problems: TreeProblem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TreeError)) throw error;
    for (const problem of error.problems) problems.push(problem);
    return undefined;
  }
}

/** Orders problems by file and line. */
export function compareProblems(left: TreeProblem, right: TreeProblem): number {
  if (left.file !== right.file) return left.file < right.file ? -1 : 1;
  return (left.line ?? 0) - (right.line ?? 0);
}
