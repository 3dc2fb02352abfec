import { quoted } from "../tree-error.ts";
import type { Containerfile, StageBase } from "./containerfile.ts";
import { type Instruction, jsonWords, parseInstructions } from "./containerfile-instructions.ts";
import { fetchersOf } from "./fetchers.ts";

/** The wrapper of a fetching RUN: further flags, and the command that gets its arguments. */
export type RunWrapper = { readonly flags: readonly string[]; readonly command: readonly string[] };

/** The shell of an image that sets none (frontend/dockerfile/dockerfile2llb, defaultShell). */
const standardShell: readonly string[] = ["/bin/sh", "-c"];

/** In bytes, with a margin: BuildKit refuses a file with a line of 64 KiB. */
const longestLine = 60_000;

/**
 * Rewrites a Containerfile so that another command runs each fetching RUN; the number of lines
 * stays. BuildKit then runs the same arguments as before, after those of the command
 * (frontend/dockerfile/dockerfile2llb, dispatchRun).
 * @param shells the configured shell of each image of the tree that a stage starts from
 * @param more fetchers beside the usual ones
 * @throws Error where a RUN cannot be rewritten exactly
 */
export function wrapFetchingRuns(
  text: string,
  { bases }: Pick<Containerfile, "bases">,
  { shells, wrapper: wrapping, more = [] }: WrapOptions,
): string {
  const lines = text.split("\n");
  const { instructions } = parseInstructions(text);
  const ofStages: (readonly string[])[] = [];
  for (const instruction of instructions) {
    const stage = ofStages.length - 1;
    if (instruction.keyword === "FROM") ofStages.push(shellOf(bases[stage + 1] ?? null, ofStages, shells));
    if (instruction.keyword === "SHELL") ofStages[stage] = jsonWords(instruction.rest) ?? standardShell;
    if (fetchersOf(instruction, more).length === 0) continue;
    const { line, lastLine: end } = instruction;
    const wrapped = wrappedRun(instruction, ofStages[stage] ?? standardShell, wrapping);
    lines.fill("", line - 1, end);
    lines[line - 1] = wrapped;
  }
  return lines.join("\n");
}

export type WrapOptions = {
  readonly shells: ReadonlyMap<string, readonly string[]>;
  readonly wrapper: RunWrapper;
  readonly more?: readonly string[];
};

function shellOf(
  base: StageBase,
  ofStages: readonly (readonly string[])[],
  shells: WrapOptions["shells"],
): readonly string[] {
  if (base === null) return standardShell;
  return (typeof base === "number" ? ofStages[base] : shells.get(base)) ?? standardShell;
}

function wrappedRun(run: Instruction, shell: readonly string[], { flags, command }: RunWrapper): string {
  const own = run.flags.filter(({ name }) => name !== "network");
  for (const { name, value } of own) {
    // BuildKit refuses other names. Written out again, a name with an escape could become one that
    // it accepts.
    if (!/^(?:mount|security|device)$/.test(name))
      throw new Error(
        `line ${run.line}: a RUN that fetches has the flag ${quoted(`--${name}`)}; BuildKit knows none`,
      );
    if (/^[\w=,./:@${}-]*$/.test(value)) continue;
    throw new Error(
      `line ${run.line}: a RUN that fetches has the flag ${quoted(`--${name}=${value}`)}; expected no blanks or quotes`,
    );
  }
  const words = [
    ...own.map(({ name, value }) => (value === "" ? `--${name}` : `--${name}=${value}`)),
    ...flags,
  ];
  // Progress names a RUN by this line, with its variables expanded (convert.go, processCmdEnv). The
  // escape leaves none to expand.
  const json = JSON.stringify([...command, ...argumentsOf(run, shell)]).replaceAll("$", String.raw`\u0024`);
  const line = `RUN ${words.join(" ")} ${json}`;
  if (Buffer.byteLength(line) <= longestLine) return line;
  throw new Error(
    `line ${run.line}: a RUN that fetches has more than ${longestLine} bytes; put what does not fetch into another`,
  );
}

/** Returns the arguments that BuildKit would run: the JSON form's words, or shell and text. */
function argumentsOf(run: Instruction, shell: readonly string[]): readonly string[] {
  const words = jsonWords(run.rest);
  if (words !== undefined) return words;
  const [first, ...others] = run.heredocs;
  if (first === undefined) return [...shell, run.rest];
  if (others.length === 0 && isHeredocAlone(run.rest)) {
    const script = first.chomps ? first.content.replace(/^\t+/gm, "") : first.content;
    if (script.startsWith("#!"))
      throw new Error(
        `line ${run.line}: a RUN that fetches is a script with "#!"; expected the shell's lines`,
      );
    return [...shell, script];
  }
  const documents = run.heredocs.map(({ name, content }) => `\n${content}${name}`);
  return [...shell, run.rest + documents.join("")];
}

/** Checks that the text is only the word that opens a heredoc. Then the heredoc is the script. */
function isHeredocAlone(rest: string): boolean {
  return /^\d*<<-?[ \t]*(?:[\w.-]+|"[\w. -]+"|'[\w. -]+')$/.test(rest);
}
