import { type Instruction, jsonWords } from "./containerfile-instructions.ts";

/**
 * The commands of StageX's recipes that fetch files that are not among the sources. Only a RUN with
 * one of them gets the recording proxy. A program counts by its name, in any folder.
 */
export const fetchers: readonly string[] = [
  ...["cargo fetch", "cargo vendor"],
  ...["go get", "go mod download", "go mod tidy", "go mod vendor"],
  ...["npm ci", "npm install"],
  ...["composer install", "composer require"],
  "pip download",
];

/** The separators of a shell's words, as far as finding a command needs them. */
const separators = /[\s;&|()`"']+/;

/**
 * Finds the fetchers that an instruction runs. Returns none for a RUN that declares
 * `--network=none`.
 * @param more fetchers beside the usual ones
 */
export function fetchersOf(run: Instruction, more: readonly string[] = []): string[] {
  if (run.keyword !== "RUN" || run.flags.some(({ name, value }) => name === "network" && value === "none"))
    return [];
  const text =
    jsonWords(run.rest)?.join(" ") ?? [run.rest, ...run.heredocs.map(({ content }) => content)].join("\n");
  return findFetchers(text, more);
}

/**
 * Finds the fetchers that a RUN's text runs, each once, in the order of the list. It may find more
 * than the shell would run, such as a fetcher in a printed text. The step then gets a proxy that it
 * does not use.
 * @param more fetchers beside the usual ones
 */
export function findFetchers(text: string, more: readonly string[] = []): string[] {
  const likely = [...fetchers, ...more].filter((fetcher) =>
    fetcher.split(" ").every((word) => text.includes(word)),
  );
  if (likely.length === 0) return [];
  const words = withoutComments(text).split(separators);
  return likely.filter((fetcher) => runs(words, fetcher.split(" ")));
}

function withoutComments(text: string): string {
  return text
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"))
    .join("\n");
}

function runs(words: readonly string[], [program, ...subcommand]: readonly string[]): boolean {
  return words.some((word, index) => {
    if (word.slice(word.lastIndexOf("/") + 1) !== program) return false;
    const start = afterOptions(words, index + 1, subcommand[0]);
    return subcommand.every((part, offset) => words[start + offset] === part);
  });
}

/** The most option words that are skipped. */
const mostOptionWords = 20;

/**
 * Returns the index after the options before a subcommand: `go -C folder mod`,
 * `cargo +stable fetch`. An option's value is one word at most.
 */
function afterOptions(words: readonly string[], start: number, subcommand: string | undefined): number {
  let at = start;
  const end = start + mostOptionWords;
  for (let word = words[at]; at < end && /^[-+]/.test(word ?? ""); word = words[at]) {
    at++;
    const next = words[at];
    const hasValue = word?.startsWith("-") && !word.includes("=") && next !== undefined;
    if (hasValue && next !== subcommand && !/^[-+]/.test(next)) at++;
  }
  return at;
}
