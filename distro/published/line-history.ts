/** Runs a git command that reads, and returns what it prints. */
export type ReadGit = (...args: string[]) => Promise<string>;

/** Returns the commits that wrote a line of `digests/`, newest first. */
export type LineHistory = (line: string) => readonly string[];

/**
 * Finds the commits, up to a given one, that wrote each line of `digests/`. A commit that only
 * moved a line does not count, and lines that a merge alone wrote have no writer.
 * @throws GitError
 */
export async function readLineHistory(read: ReadGit, commit: string): Promise<LineHistory> {
  const shown = ["-p", "-U0", "--no-renames", "--text", "--format=commit %H"];
  const text = await read("log", ...shown, commit, "--", "digests");
  const writers = new Map<string, string[]>();
  let [removed, added] = [new Set<string>(), new Set<string>()];
  let writer: string | undefined;
  const recordWriter = () => {
    for (const line of added) {
      if (writer === undefined || removed.has(line)) continue;
      const known = writers.get(line);
      if (known) known.push(writer);
      else writers.set(line, [writer]);
    }
    [removed, added] = [new Set(), new Set()];
  };
  for (const line of linesOf(text)) {
    const [, next] = commitLine.exec(line) ?? [];
    if (next !== undefined) {
      recordWriter();
      writer = next;
    }
    // Other lines of these files are not digests.
    const [, sign, written = ""] = changedLine.exec(line) ?? [];
    if (sign !== undefined) (sign === "-" ? removed : added).add(written);
  }
  recordWriter();
  return (line) => writers.get(line) ?? [];
}

/** The line that begins a commit. Lines of a change begin with a sign instead. */
const commitLine = /^commit ([0-9a-f]{40,64})$/;
/** An added or removed line of a digests file: a digest and an image's name. */
const changedLine = /^([-+])([0-9a-f]{64} \S{1,300})[ \t\r]*$/;

/** Yields the lines of a text one at a time: there may be millions. */
function* linesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf("\n", start);
    yield text.slice(start, end === -1 ? text.length : end);
    start = end === -1 ? text.length : end + 1;
  }
}
