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

/** All that is wrong with a tree, in one go. */
export class TreeError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(firstOfEach(problems, kindOf, problemText, moreText).join("\n"));
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
  const text = JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner));
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return typeof value === "object" || typeof value === "string" ? short : `${short} (a ${typeof value})`;
}

/** Runs one reader; what it finds wrong joins the problems of the tree, and the answer is then undefined. */
export function collecting<T>(problems: Problem[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TreeError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}
