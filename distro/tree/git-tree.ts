import { hash } from "node:crypto";
import { tooLargeError } from "../../lib/fs/regular-file.ts";
import { GitError } from "../../lib/git/git.ts";
import { readObjects } from "../../lib/git/git-objects.ts";
import {
  type GitRepository,
  requireRepository,
  runGitIn,
  runInRepository,
} from "../../lib/git/git-repository.ts";
import { RepositoryError } from "../../lib/git/git-repository-checks.ts";
import { findNearestName } from "../../lib/text/nearest-name.ts";
import { quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import { isOutsideTree, type TreeFile, type TreeSource, treeFolders } from "../tree-source.ts";
import { asTreeError, fileModes } from "./git-index.ts";

/**
 * The commit that a revision means (a branch, a tag, `HEAD~3`, a commit): its full object name.
 * @param root a folder of the repository
 * @throws TreeError if there is no repository, or it has no such commit
 */
export async function resolveCommit(root: string, revision: string): Promise<string> {
  const wanted = `${revision}^{commit}`;
  try {
    const answer = await runGitIn(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", wanted]);
    return answer.toString().trim();
  } catch (error) {
    if (!isAnswer(error)) throw asTreeError(error, { file: root, allowed: "a commit" });
    throw new TreeError([await unknownRevision(root, revision, error)]);
  }
}

/**
 * The tree at this folder as a commit has it: the files of `packages/` and `digests/`, read from git's objects, without
 * a checkout. The folder need not be the repository's outermost.
 * @param commit as {@link resolveCommit} gives it
 * @throws TreeError if an object is missing or damaged
 */
export async function openGitTree(root: string, commit: string): Promise<TreeSource> {
  const name = `${root} at ${commit.slice(0, 12)}`;
  try {
    const repository = await requireRepository(root);
    const { entries, problems } = await entriesOf(repository, root, commit);
    const contents = await contentsOf(repository, entries);
    const escaping = entries.flatMap((entry) => escapingLink(entry, contents));
    const rejected = new Set(escaping.map(({ file }) => file));
    const kept = entries.filter(({ path }) => !rejected.has(path));
    return new RevisionTree(name, kept, contents, [...problems, ...escaping]);
  } catch (error) {
    if (!isAnswer(error))
      throw asTreeError(error, { file: name, allowed: "a revision that git can read whole" });
    throw new TreeError([await unreadable(root, name, error)]);
  }
}

/** Whether git has looked, and found no such thing. */
function isAnswer(error: unknown): error is GitError {
  return error instanceof GitError && error.problem === "failed" && !(error instanceof RepositoryError);
}

/** A file, and the name of git's object with its content. */
type Entry = TreeFile & { readonly object: string };

class RevisionTree implements TreeSource {
  readonly root: string;
  readonly files: readonly TreeFile[];
  readonly problems: readonly TreeProblem[];
  readonly #contents: ReadonlyMap<string, Uint8Array>;
  readonly #objects: ReadonlyMap<string, string>;

  constructor(
    root: string,
    entries: readonly Entry[],
    contents: ReadonlyMap<string, Uint8Array>,
    problems: readonly TreeProblem[],
  ) {
    this.root = root;
    this.files = entries.map(({ path, mode }) => ({ path, mode }));
    this.problems = problems;
    this.#contents = contents;
    this.#objects = new Map(entries.map(({ path, object }) => [path, object]));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const content = this.#content(path);
    if (content.length > limit) throw tooLargeError(path, limit);
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
  repository: GitRepository,
  root: string,
  commit: string,
): Promise<{ entries: Entry[]; problems: TreeProblem[] }> {
  const output = await runInRepository(repository, root, [
    "ls-tree",
    "-r",
    "-z",
    commit,
    "--",
    ...treeFolders,
  ]);
  const entries: Entry[] = [];
  const problems: TreeProblem[] = [];
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
  repository: GitRepository,
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

function escapingLink(entry: Entry, contents: ReadonlyMap<string, Uint8Array>): TreeProblem[] {
  if (entry.mode !== "120000") return [];
  const target = new TextDecoder().decode(contents.get(entry.object));
  if (!isOutsideTree(entry.path, target)) return [];
  const found = `a symbolic link to ${quoted(target)}`;
  return [{ file: entry.path, found, allowed: "links to what is in the tree" }];
}

async function unreadable(root: string, file: string, { message }: GitError): Promise<TreeProblem> {
  const lines = message.split("\n").map((line) => line.trim());
  const said = lines.find((line) => /^(fatal|error):/.test(line)) ?? lines[0];
  const settings = [...(await requireRepository(root)).config.keys()];
  if (settings.some((name) => /^remote\..*\.partialclonefilter$/.test(name))) {
    const mend = `git -C ${root} fetch --refetch --no-filter`;
    return {
      file,
      found: `${quoted(said)} in a partial clone`,
      allowed: "a clone with all objects",
      fix: mend,
    };
  }
  const mend = `git -C ${root} fsck`;
  return { file, found: quoted(said), allowed: "a revision that git can read whole", fix: mend };
}

async function unknownRevision(root: string, revision: string, { message }: GitError): Promise<TreeProblem> {
  const at = { file: root, found: `no commit ${quoted(revision)}` };
  if (revision === "HEAD") {
    return { ...at, found: "a repository without a commit", allowed: "at least one commit" };
  }
  const shallow = await runGitIn(root, ["rev-parse", "--is-shallow-repository"]);
  if (shallow.toString().trim() === "true") {
    const mend = `git -C ${root} fetch --unshallow --tags`;
    return {
      ...at,
      found: `${at.found} in a shallow clone`,
      allowed: "a revision that the clone has",
      fix: mend,
    };
  }
  if (!message.startsWith("git rev-parse ended"))
    return { ...at, found: quoted(message), allowed: "a commit" };
  const names = await runGitIn(root, ["for-each-ref", "--format=%(refname:lstrip=2)"]).catch(() => "");
  const nearest = findNearestName(revision, names.toString().trim().split("\n"));
  const hint = nearest === undefined ? "" : `; the nearest is ${nearest}`;
  return { ...at, allowed: `a commit, tag or branch of this repository${hint}` };
}
