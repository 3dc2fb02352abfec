import { readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { GitError } from "../../lib/git/git.ts";
import { type GitObject, readObjects, verifiedContent } from "../../lib/git/git-objects.ts";
import { diskKeeps, findRepository, type GitRepository } from "../../lib/git/git-repository.ts";
import { type GitTreeEntry, isUnmodified, parseGitEntries } from "../../lib/git/git-tree-entry.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";

/** The parts of a tree that are read. Sources and build results may lie beside them. */
const treeParts = ["packages", "digests", "MAINTAINERS", "keys"];

/**
 * Compares a checkout with its commit: the files on the disk, the index and HEAD. It trusts neither
 * the index nor the object store: it hashes every object, from the commit down.
 * @returns the first difference; undefined where there is none
 * @throws GitError
 */
export async function findFirstChange(checkout: string, commit: string): Promise<string | undefined> {
  try {
    const repository = await findRepository(checkout);
    if (repository?.workTree !== realpathSync(checkout)) return "its .git is gone";
    if (repository.head.trim() !== commit) return `it is at ${repository.head.trim()}`;
    const refs = await runInRepository(repository, checkout, ["for-each-ref", "--count=1"]);
    if (refs.length > 0) return "it has branches or tags";
    const recorded = await recordedFiles(repository, checkout, commit);
    if (typeof recorded === "string") return recorded;
    const args = ["ls-files", "--stage", "-z", "--", ...treeParts];
    const index = parseGitEntries(await runInRepository(repository, checkout, args));
    if (!isDeepStrictEqual(sorted(index), sorted(recorded))) return "its index has other files";
    return changeOnDisk(checkout, recorded, repository);
  } catch (error) {
    if (error instanceof GitError && error.problem === "failed") return error.message;
    throw error;
  }
}

/** Returns the files of the commit, or a description of the first object whose hash is wrong. */
async function recordedFiles(
  repository: GitRepository,
  checkout: string,
  commit: string,
): Promise<GitTreeEntry[] | string> {
  const listing = ["ls-tree", "-r", "-t", "-z", "--full-tree", commit, "--", ...treeParts];
  const listed = parseGitEntries(await runInRepository(repository, checkout, listing));
  const commits = await readObjects(repository, [commit]);
  const text = verifiedContent(commits, "commit", commit);
  const root = /^tree ([0-9a-f]+)\n/.exec(text?.toString("latin1") ?? "")?.[1];
  if (root === undefined) return `the commit ${commit} is damaged`;
  const names = listed.filter(({ mode }) => mode === folderMode).map(({ object }) => object);
  return filesBelow(await readObjects(repository, [root, ...names]), root);
}

/** git's mode of a tree within a tree, as `ls-tree` writes it. */
const folderMode = "040000";

function filesBelow(objects: ReadonlyMap<string, GitObject>, root: string): GitTreeEntry[] | string {
  const files: GitTreeEntry[] = [];
  const folders = [{ path: "", object: root }];
  for (const { path, object } of folders) {
    const content = verifiedContent(objects, "tree", object);
    if (content === undefined) return `git's object ${object} of ${path || "the tree"} is missing or damaged`;
    for (const entry of parseTree(content, object.length / 2)) {
      if (path === "" && !treeParts.includes(entry.path)) continue;
      const full = { ...entry, path: path === "" ? entry.path : `${path}/${entry.path}` };
      if (entry.mode === folderMode) folders.push(full);
      else files.push(full);
    }
  }
  return files;
}

/**
 * Parses the entries of a tree object: `<mode> <name>\0<object>` each, modes without leading zeros.
 */
function parseTree(content: Buffer, nameLength: number): GitTreeEntry[] {
  const entries: GitTreeEntry[] = [];
  for (let at = 0; at < content.length; ) {
    const [blank, zero] = [content.indexOf(" ", at), content.indexOf(0, at)];
    if (blank < at || zero < blank) throw new GitError("a tree object that is damaged");
    const [mode, path] = [content.toString("latin1", at, blank), content.toString("utf8", blank + 1, zero)];
    at = zero + 1 + nameLength;
    entries.push({ mode: mode.padStart(6, "0"), path, object: content.toString("hex", zero + 1, at) });
  }
  return entries;
}

function changeOnDisk(
  checkout: string,
  recorded: readonly GitTreeEntry[],
  repository: GitRepository,
): string | undefined {
  const keeps = diskKeeps(repository);
  const changed = recorded.find((entry) => !isUnmodified(checkout, entry, keeps));
  if (changed !== undefined) return `${JSON.stringify(changed.path)} differs`;
  const known = new Set(recorded.map(({ path }) => path));
  const folders = [""];
  for (const folder of folders) {
    for (const entry of readdirSync(join(checkout, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (folder === "" && !treeParts.includes(path)) continue;
      if (entry.isDirectory()) folders.push(path);
      else if (!known.has(path)) return `${JSON.stringify(path)} is more than the commit has`;
    }
  }
  return undefined;
}

function sorted(entries: readonly GitTreeEntry[]): GitTreeEntry[] {
  return entries.toSorted((left, right) => (left.path < right.path ? -1 : 1));
}
