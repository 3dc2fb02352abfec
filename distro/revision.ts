import { hash } from "node:crypto";
import { tooLarge } from "../lib/regular-file.ts";
import { GitError, git } from "./git.ts";
import { nearestName } from "./nearest-name.ts";
import { type Problem, quoted, TreeError } from "./tree-error.ts";
import { leadsOutside, type TreeFile, type TreeFiles, treeFolders } from "./tree-files.ts";

/**
 * The commit that a revision means (a branch, a tag, `HEAD~3`, a commit): its full object name.
 * @param root a folder of the repository
 * @throws TreeError if there is no repository, or it has no such commit
 */
export async function commitOf(root: string, revision: string): Promise<string> {
  const wanted = `${revision}^{commit}`;
  try {
    const answer = await git(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", wanted]);
    return answer.toString().trim();
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    throw new TreeError([await unknownRevision(root, revision, error)]);
  }
}

/**
 * The tree at this folder as a commit has it: the files of `packages/` and `digests/`, read from git's objects, without
 * a checkout. The folder need not be the repository's outermost.
 * @param commit as {@link commitOf} gives it
 * @throws TreeError if an object is missing or damaged
 */
export async function revisionTree(root: string, commit: string): Promise<TreeFiles> {
  const name = `${root} at ${commit.slice(0, 12)}`;
  try {
    const { entries, problems } = await entriesOf(root, commit);
    const contents = await contentsOf(root, entries);
    const escaping = entries.flatMap((entry) => escapingLink(entry, contents));
    const rejected = new Set(escaping.map(({ file }) => file));
    const kept = entries.filter(({ path }) => !rejected.has(path));
    return new RevisionTree(name, kept, contents, [...problems, ...escaping]);
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    throw new TreeError([await unreadable(root, name, error)]);
  }
}

/** A file, and the name of git's object with its content. */
type Entry = TreeFile & { readonly object: string };

class RevisionTree implements TreeFiles {
  readonly root: string;
  readonly list: readonly TreeFile[];
  readonly problems: readonly Problem[];
  readonly #contents: ReadonlyMap<string, Uint8Array>;
  readonly #objects: ReadonlyMap<string, string>;

  constructor(
    root: string,
    entries: readonly Entry[],
    contents: ReadonlyMap<string, Uint8Array>,
    problems: readonly Problem[],
  ) {
    this.root = root;
    this.list = entries.map(({ path, mode }) => ({ path, mode }));
    this.problems = problems;
    this.#contents = contents;
    this.#objects = new Map(entries.map(({ path, object }) => [path, object]));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const content = this.#content(path);
    if (content.length > limit) throw tooLarge(path, limit);
    return content;
  }

  async sha256(path: string): Promise<string> {
    return hash("sha256", this.#content(path));
  }

  #content(path: string): Uint8Array {
    const content = this.#contents.get(this.#objects.get(path) ?? "");
    if (content === undefined) throw new Error(`${path} is not a file of the tree ${this.root}`);
    return content;
  }
}

async function entriesOf(root: string, commit: string): Promise<{ entries: Entry[]; problems: Problem[] }> {
  const output = await git(root, ["ls-tree", "-r", "-z", commit, "--", ...treeFolders]);
  const entries: Entry[] = [];
  const problems: Problem[] = [];
  for (const line of output.toString().split("\0")) {
    // <mode> <type> <object>\t<path>
    const [, written = "", type, object = "", path = ""] = /^(\d+) (\w+) (\w+)\t([\s\S]+)$/.exec(line) ?? [];
    const mode = modes[written];
    if (path === "") continue;
    if (path.includes("\uFFFD")) {
      problems.push({ file: path, found: "a name that is not UTF-8", allowed: "names in UTF-8" });
    } else if (mode !== undefined) entries.push({ path, mode, object });
    else problems.push({ file: path, found: type === "commit" ? "a submodule" : written, allowed: "files" });
  }
  return { entries: entries.sort((left, right) => (left.path < right.path ? -1 : 1)), problems };
}

/** git's modes of files; 100664 is from its first days, and means 100644. */
const modes: Readonly<Record<string, TreeFile["mode"]>> = {
  "100644": "100644",
  "100664": "100644",
  "100755": "100755",
  "120000": "120000",
};

/** The contents by name of object, all from one process. */
async function contentsOf(root: string, entries: readonly Entry[]): Promise<Map<string, Uint8Array>> {
  const objects = [...new Set(entries.map(({ object }) => object))];
  const output = await git(root, ["cat-file", "--batch"], objects.map((object) => `${object}\n`).join(""));
  const contents = new Map<string, Uint8Array>();
  let next = 0;
  for (const object of objects) {
    // <object> blob <size>\n<content>\n, or <object> missing\n
    const end = output.indexOf("\n", next);
    const [, type, size] = output.toString("latin1", next, end).split(" ");
    if (type !== "blob") {
      const path = entries.find((entry) => entry.object === object)?.path;
      throw new GitError(`${path}: git's object ${object} is missing`);
    }
    contents.set(object, output.subarray(end + 1, end + 1 + Number(size)));
    next = end + 1 + Number(size) + 1;
  }
  return contents;
}

function escapingLink(entry: Entry, contents: ReadonlyMap<string, Uint8Array>): Problem[] {
  if (entry.mode !== "120000") return [];
  const target = new TextDecoder().decode(contents.get(entry.object));
  if (!leadsOutside(entry.path, target)) return [];
  const found = `a symbolic link to ${quoted(target)}`;
  return [{ file: entry.path, found, allowed: "links to what is in the tree" }];
}

async function unreadable(root: string, file: string, { message }: GitError): Promise<Problem> {
  const said = message.split("\n").find((line) => /^(fatal|error):/.test(line)) ?? message.split("\n")[0];
  const filters = await git(root, ["config", "--get-regexp", "^remote\\..*\\.partialclonefilter$"]).catch(
    () => "",
  );
  if (filters.length > 0) {
    const mend = `git -C ${root} fetch --refetch --no-filter`;
    return { file, found: `${quoted(said)} in a partial clone`, allowed: "a clone with all objects", mend };
  }
  const mend = `git -C ${root} fsck`;
  return { file, found: quoted(said), allowed: "a revision that git can read whole", mend };
}

async function unknownRevision(root: string, revision: string, { message }: GitError): Promise<Problem> {
  const at = { file: root, found: `no commit ${quoted(revision)}` };
  const shallow = await git(root, ["rev-parse", "--is-shallow-repository"]).catch(noRepository);
  if (shallow instanceof GitError) {
    const none = shallow.message.includes("not a git repository");
    const found = none ? "no git repository" : quoted(shallow.message.split("\n")[0]);
    return { file: root, found, allowed: "a folder of a git repository" };
  }
  if (revision === "HEAD") {
    return { ...at, found: "a repository without a commit", allowed: "at least one commit" };
  }
  if (shallow.toString().trim() === "true") {
    const mend = `git -C ${root} fetch --unshallow --tags`;
    return { ...at, found: `${at.found} in a shallow clone`, allowed: "a revision that the clone has", mend };
  }
  if (!message.startsWith("git rev-parse ended"))
    return { ...at, found: quoted(message), allowed: "a commit" };
  const names = await git(root, ["for-each-ref", "--format=%(refname:lstrip=2)"]).catch(() => "");
  const nearest = nearestName(revision, names.toString().trim().split("\n"));
  const hint = nearest === undefined ? "" : `; the nearest is ${nearest}`;
  return { ...at, allowed: `a commit, tag or branch of this repository${hint}` };
}

function noRepository(error: unknown): GitError {
  if (error instanceof GitError) return error;
  throw error;
}
