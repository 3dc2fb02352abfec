import { hash } from "node:crypto";
import { tooLarge } from "../../lib/fs/regular-file.ts";
import { GitError } from "../../lib/git/git.ts";
import { readObjects } from "../../lib/git/git-objects.ts";
import { git, type Repository, readRepository, repositoryOf } from "../../lib/git/git-repository.ts";
import { RepositoryError } from "../../lib/git/git-repository-checks.ts";
import { nearestName } from "../../lib/text/nearest-name.ts";
import { type Problem, quoted, TreeError } from "../tree-error.ts";
import { leadsOutside, type TreeFile, type TreeFiles, treeFolders } from "../tree-source.ts";
import { fileModes, gitTreeError } from "./git-index.ts";

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
    if (!isAnswer(error)) throw gitTreeError(error, { file: root, allowed: "a commit" });
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
    const repository = await repositoryOf(root);
    const { entries, problems } = await entriesOf(repository, root, commit);
    const contents = await contentsOf(repository, entries);
    const escaping = entries.flatMap((entry) => escapingLink(entry, contents));
    const rejected = new Set(escaping.map(({ file }) => file));
    const kept = entries.filter(({ path }) => !rejected.has(path));
    return new RevisionTree(name, kept, contents, [...problems, ...escaping]);
  } catch (error) {
    if (!isAnswer(error))
      throw gitTreeError(error, { file: name, allowed: "a revision that git can read whole" });
    throw new TreeError([await unreadable(root, name, error)]);
  }
}

/** Whether git has looked, and found no such thing. */
function isAnswer(error: unknown): error is GitError {
  return error instanceof GitError && error.problem === "failed" && !(error instanceof RepositoryError);
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

async function entriesOf(
  repository: Repository,
  root: string,
  commit: string,
): Promise<{ entries: Entry[]; problems: Problem[] }> {
  const output = await readRepository(repository, root, [
    "ls-tree",
    "-r",
    "-z",
    commit,
    "--",
    ...treeFolders,
  ]);
  const entries: Entry[] = [];
  const problems: Problem[] = [];
  for (const line of output.toString().split("\0")) {
    // <mode> <type> <object>\t<path>
    const [, written = "", type, object = "", path = ""] = /^(\d+) (\w+) (\w+)\t([\s\S]+)$/.exec(line) ?? [];
    const mode = fileModes[written];
    if (path === "") continue;
    if (path.includes("\uFFFD")) {
      problems.push({ file: path, found: "a name that is not UTF-8", allowed: "names in UTF-8" });
    } else if (mode !== undefined) entries.push({ path, mode, object });
    else problems.push({ file: path, found: type === "commit" ? "a submodule" : written, allowed: "files" });
  }
  return { entries: entries.sort((left, right) => (left.path < right.path ? -1 : 1)), problems };
}

/** The contents by name of object. */
async function contentsOf(
  repository: Repository,
  entries: readonly Entry[],
): Promise<Map<string, Uint8Array>> {
  const objects = await readObjects(
    repository,
    entries.map(({ object }) => object),
  );
  const missing = entries.find(({ object }) => objects.get(object)?.type !== "blob");
  if (missing !== undefined) throw new GitError(`${missing.path}: git's object ${missing.object} is missing`);
  return new Map([...objects].map(([object, { content }]) => [object, content]));
}

function escapingLink(entry: Entry, contents: ReadonlyMap<string, Uint8Array>): Problem[] {
  if (entry.mode !== "120000") return [];
  const target = new TextDecoder().decode(contents.get(entry.object));
  if (!leadsOutside(entry.path, target)) return [];
  const found = `a symbolic link to ${quoted(target)}`;
  return [{ file: entry.path, found, allowed: "links to what is in the tree" }];
}

async function unreadable(root: string, file: string, { message }: GitError): Promise<Problem> {
  const lines = message.split("\n").map((line) => line.trim());
  const said = lines.find((line) => /^(fatal|error):/.test(line)) ?? lines[0];
  const settings = [...(await repositoryOf(root)).config.keys()];
  if (settings.some((name) => /^remote\..*\.partialclonefilter$/.test(name))) {
    const mend = `git -C ${root} fetch --refetch --no-filter`;
    return { file, found: `${quoted(said)} in a partial clone`, allowed: "a clone with all objects", mend };
  }
  const mend = `git -C ${root} fsck`;
  return { file, found: quoted(said), allowed: "a revision that git can read whole", mend };
}

async function unknownRevision(root: string, revision: string, { message }: GitError): Promise<Problem> {
  const at = { file: root, found: `no commit ${quoted(revision)}` };
  if (revision === "HEAD") {
    return { ...at, found: "a repository without a commit", allowed: "at least one commit" };
  }
  const shallow = await git(root, ["rev-parse", "--is-shallow-repository"]);
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
