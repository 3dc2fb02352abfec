import { firstOfEach } from "../lib/first-of-each.ts";
import { type Printable, printable } from "../lib/printable.ts";

/** One thing that is wrong with a tree: where, what was found, what is allowed, and what mends it. */
export type Problem = {
  /** Path relative to the tree; the tree's own path when the whole of it is meant. */
  readonly file: string;
  /** 1-based. */
  readonly line?: number;
  /** Such as `sources.gcc.hash`, or the instruction's name in a Containerfile. */
  readonly field?: string;
  readonly found: string;
  readonly allowed: string;
  /** The one command that mends it, where there is one. */
  readonly mend?: string;
};

/** How many problems a reader collects of one file before it stops reading. */
export const mostProblemsOfFile = 100;

/** How many lines a message has. */
const mostLines = 200;

/** All that is wrong with a tree, in one go. The message is bounded; `problems` has all that were collected. */
export class TreeError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = firstOfEach(problems, kindOf, problemText, moreText);
    const more = lines.length > mostLines ? [`… and ${lines.length - mostLines} more`] : [];
    super([...lines.slice(0, mostLines), ...more].join("\n"));
    this.name = "TreeError";
    this.problems = problems;
  }
}

/** `packages/core/gcc/package.toml:7: sources.gcc.hash: found "abc", allowed: 64 hex digits (mend: …)`. */
export function problemText(problem: Problem): Printable {
  const where = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`;
  const field = problem.field === undefined ? "" : `${problem.field}: `;
  const mend = problem.mend === undefined ? "" : ` (mend: ${problem.mend})`;
  return printable`${where}: ${field}found ${problem.found}, allowed: ${problem.allowed}${mend}`;
}

/** Names of sources, images and files differ from package to package; what is asked of them does not. */
function kindOf({ field = "", allowed }: Problem): string {
  const names = field.split(".");
  return `${names[0]}.${names.length > 1 ? names.at(-1) : ""}: ${allowed}`;
}

function moreText(count: number, { field, allowed }: Problem): Printable {
  return printable`and ${count} more${field === undefined ? "" : ` of ${field}`}, allowed: ${allowed}`;
}

/** What was found, as one bounded line: a tree's text may hold anything, control characters too. */
export function quoted(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(pruned(value, 0));
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return typeof value === "object" || typeof value === "string" ? short : `${short} (a ${typeof value})`;
}

/** As much of a value as a quote can show: no text, table or depth beyond that is ever written out. */
function pruned(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "string") return value.slice(0, 121);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (depth > 20) return "…";
  if (Array.isArray(value)) return value.slice(0, 121).map((inner) => pruned(inner, depth + 1));
  const members = Object.entries(value).slice(0, 121);
  return Object.fromEntries(members.map(([name, inner]) => [name.slice(0, 121), pruned(inner, depth + 1)]));
}

/** A cycle as one bounded line: `a -> b -> a`. */
export function cycleText(path: readonly string[]): string {
  if (path.length <= 20) return `the cycle ${path.join(" -> ")}`;
  const left = `… ${path.length - 20} more …`;
  return `the cycle ${[...path.slice(0, 10), left, ...path.slice(-10)].join(" -> ")}`;
}

/** Runs one reader; what it finds wrong joins the problems of the tree, and the answer is then undefined. */
export function collecting<T>(problems: Problem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TreeError)) throw error;
    for (const problem of error.problems) problems.push(problem);
    return undefined;
  }
}
