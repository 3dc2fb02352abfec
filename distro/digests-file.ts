import { mostProblemsOfFile, type Problem, quoted, TreeError } from "./tree-error.ts";

/** `<64 hex digits> <stage>-<name>`, as StageX's `src/digests.py` writes it. */
const linePattern = /^([0-9a-f]{64}) ([a-z0-9]+-\S+)$/;

/**
 * Reads a `digests/<stage>.txt`: image name -> hex of the manifest's digest.
 * @param file the path, whose name says the stage
 * @throws TreeError with every line that is wrong
 */
export function parseDigestsFile(file: string, text: string): Map<string, string> {
  const stage = file.slice(file.lastIndexOf("/") + 1).replace(/\.txt$/, "");
  const digests = new Map<string, string>();
  const problems: Problem[] = [];
  for (const [index, line] of text.replace(/\n$/, "").split("\n").entries()) {
    if (text === "" || problems.length === mostProblemsOfFile) break;
    const [, hex, name] = linePattern.exec(line) ?? [];
    const place = { file, line: index + 1, found: quoted(line) };
    if (hex === undefined || name === undefined || !name.startsWith(`${stage}-`)) {
      problems.push({ ...place, allowed: `64 lower-case hex digits, a space, and ${stage}-<name>` });
    } else if (digests.has(name)) problems.push({ ...place, allowed: "each image once" });
    else digests.set(name, hex);
  }
  if (problems.length > 0) throw new TreeError(problems);
  return digests;
}

/** The text of a `digests/<stage>.txt`, sorted by name. */
export function digestsFileText(digests: ReadonlyMap<string, string>): string {
  return [...digests]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, hex]) => `${hex} ${name}\n`)
    .join("");
}

/** The texts of all digests files, by path: `digests/core.txt` and so on. The stage is what stands before the first dash. */
export function digestsFiles(digests: ReadonlyMap<string, string>): Map<string, string> {
  const stages = Map.groupBy(digests, ([name]) => name.slice(0, name.indexOf("-")));
  return new Map(
    [...stages].map(([stage, entries]) => [`digests/${stage}.txt`, digestsFileText(new Map(entries))]),
  );
}
