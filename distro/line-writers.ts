/** Runs a git command that reads, and returns what it prints. */
export type ReadGit = (...args: string[]) => Promise<string>;

/** Gives the commits that wrote a line of `digests/`, newest first. */
export type LineWriters = (line: string) => readonly string[];

/**
 * Finds which commits wrote which line of `digests/`, up to a commit. One that only moved a line did not write it, and what a merge alone
 * wrote, nobody did.
 * @throws GitError
 */
export async function lineWriters(read: ReadGit, commit: string): Promise<LineWriters> {
  const shown = ["-p", "-U0", "--no-renames", "--text", "--format=commit %H"];
  const text = await read("log", ...shown, commit, "--", "digests");
  const writers = new Map<string, string[]>();
  for (const part of text.split(/^commit /m)) {
    const [writer = "", ...lines] = part.split("\n");
    const having = (sign: string) =>
      lines.flatMap((line) => (line.startsWith(sign) ? [line.slice(1).trimEnd()] : []));
    const gone = new Set(having("-"));
    for (const line of new Set(having("+"))) {
      if (gone.has(line)) continue;
      const known = writers.get(line);
      if (known) known.push(writer);
      else writers.set(line, [writer]);
    }
  }
  return (line) => writers.get(line) ?? [];
}
