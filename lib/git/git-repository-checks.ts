import { type Dirent, lstatSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { RegularFileError, readRegularFileSync } from "../fs/regular-file.ts";
import { escapeControlCharacters } from "../text/escape-control-characters.ts";
import { quoteShellWord } from "../text/shell-word.ts";
import { GitError, networkEnvironment, runGit } from "./git.ts";

/** What is wrong with a repository: where, what was found, what is allowed, and the command that fixes it, if there is one. */
export type RepositoryProblem = {
  readonly path: string;
  readonly found: string;
  readonly allowed: string;
  readonly fix?: string;
};

/** A repository that is not read: it is broken, leads elsewhere or is another user's. */
export class RepositoryError extends GitError {
  override readonly name = "RepositoryError";
  readonly details: RepositoryProblem;

  constructor(details: RepositoryProblem) {
    const { path, found, allowed, fix } = details;
    const place = escapeControlCharacters(path);
    super(`${place}: found ${found}, allowed: ${allowed}${fix === undefined ? "" : ` (fix: ${fix})`}`);
    this.details = details;
  }
}

/**
 * Reads a small file of a repository: HEAD, `.git` and the like have some hundred bytes.
 * @param limit in bytes
 * @throws RepositoryError
 */
export function readSmallFile(path: string, limit = 2 ** 13): string {
  try {
    return readRegularFileSync(path, limit).toString();
  } catch (error) {
    throw new RepositoryError({ path, found: why(error), allowed: "a file of a git repository" });
  }
}

/**
 * Checks that each folder and file which git is shown is the repository's own, and returns the content of HEAD. Links and alternates
 * would show what else is on this machine, and git would wait for a pipe.
 * @throws RepositoryError
 */
export function checkGitLayout(gitFolder: string, commonFolder: string): string {
  const head = join(gitFolder, "HEAD");
  const content = readSmallFile(head);
  if (!/^(ref: refs\/[^\0\n]+|[0-9a-f]{40}|[0-9a-f]{64})\n?$/.test(content))
    throw new RepositoryError({
      path: head,
      found: "neither a ref nor a commit",
      allowed: "what HEAD stands for",
    });
  for (const name of ["objects", "refs"]) expectKind(join(commonFolder, name), "a folder");
  const files = [
    ...["index", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", ...sharedIndexes(gitFolder)].map((name) =>
      join(gitFolder, name),
    ),
    ...["packed-refs", "shallow"].map((name) => join(commonFolder, name)),
  ];
  for (const file of files) if (isThere(file)) expectKind(file, "a file");
  const objects = join(commonFolder, "objects");
  for (const folder of [objects, join(objects, "pack")]) if (isThere(folder)) foldersIn(folder);
  for (const name of ["objects", "refs", "logs", "reftable"]) expectPlain(join(commonFolder, name));
  for (const name of ["logs", "reftable"]) expectPlain(join(gitFolder, name));
  expectNoAlternates(join(objects, "info/alternates"));
  return content;
}

function expectKind(path: string, kind: "a file" | "a folder"): void {
  try {
    const stats = lstatSync(path);
    if (kind === "a file" ? stats.isFile() : stats.isDirectory()) return;
  } catch (error) {
    throw new RepositoryError({ path, found: why(error), allowed: kind });
  }
  throw new RepositoryError({ path, found: "something else", allowed: kind });
}

/** How much a folder of a repository may have in it; a busy one, never packed, has some hundred thousand files. */
const largest = { entries: 1_000_000, depth: 64 };

/** The folders that this process has walked. Each command reads a repository several times. */
const walked = new Set<string>();

/** Expects nothing but folders and files in a folder, at any depth. */
function expectPlain(path: string): void {
  if (!isThere(path)) return;
  expectKind(path, "a folder");
  const { dev, ino } = lstatSync(path);
  const key = `${dev}:${ino}:${path}`;
  if (walked.has(key)) return;
  let entries = 0;
  const pending = [{ folder: path as string | Buffer, depth: 1 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { folder, depth } = next;
    const { folders, count } = foldersIn(folder);
    entries += count;
    if (entries > largest.entries || depth > largest.depth)
      throw new RepositoryError({
        path,
        found: `more than ${entries > largest.entries ? `${largest.entries} files` : `${largest.depth} folders in each other`}`,
        allowed: "as much as git makes",
        fix: "git pack-refs --all && git gc, there",
      });
    for (const inner of folders) pending.push({ folder: inner, depth: depth + 1 });
  }
  walked.add(key);
}

/** The folders in a folder that has nothing but folders and files in it. Names are bytes: not all are UTF-8. */
function foldersIn(folder: string | Buffer): { folders: Buffer[]; count: number } {
  const entries = entriesOf(folder);
  const pathOf = (name: Buffer) => Buffer.concat([Buffer.from(folder), Buffer.from("/"), name]);
  const other = entries.find((entry) => !entry.isFile() && !entry.isDirectory());
  if (other !== undefined)
    throw new RepositoryError({
      path: pathOf(other.name).toString(),
      found: other.isSymbolicLink() ? "a symbolic link" : "neither a file nor a folder",
      allowed: "files of this repository",
    });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => pathOf(name));
  return { folders, count: entries.length };
}

function entriesOf(folder: string | Buffer): Dirent<Buffer>[] {
  try {
    return readdirSync(folder, { withFileTypes: true, encoding: "buffer" });
  } catch (error) {
    // git removes folders that have become empty.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    const [path, allowed] = [folder.toString(), "a folder that can be read"];
    throw new RepositoryError({ path, found: why(error), allowed });
  }
}

/** The names of the files that a split index is continued in (git-update-index(1), "SPLIT INDEX"). */
export function sharedIndexes(gitFolder: string): string[] {
  const names = entriesOf(gitFolder).map(({ name }) => name.toString());
  return names.filter((name) => /^sharedindex\.[0-9a-f]+$/.test(name));
}

function expectNoAlternates(path: string): void {
  if (!isThere(path)) return;
  const [first] = readSmallFile(path).trim().split("\n");
  if (first === undefined || first === "") return;
  throw new RepositoryError({
    path,
    found: `a way to the objects in ${JSON.stringify(first)}`,
    allowed: "a repository with all its objects",
    fix: `git repack -a -d, there, and then rm ${quoteShellWord(path)}`,
  });
}

/**
 * Checks that a repository belongs to this user, or that the user's configuration calls it safe (`safe.directory`, git-config(1)).
 * @param main how git calls it: its worktree, or itself where it is bare
 * @throws RepositoryError
 */
export async function checkOwner(main: string, paths: readonly string[]): Promise<void> {
  const user = process.geteuid?.();
  const users = [user, ...(user === 0 && process.env.SUDO_UID ? [Number(process.env.SUDO_UID)] : [])];
  const foreign = paths.find((path) => !users.includes(lstatSync(path).uid));
  if (user === undefined || foreign === undefined || (await isCalledSafe(main))) return;
  throw new RepositoryError({
    path: foreign,
    found: "another user's repository",
    allowed: "one of your own, or one that you call safe",
    fix: `git config --global --add safe.directory ${quoteShellWord(main)}`,
  });
}

async function isCalledSafe(main: string): Promise<boolean> {
  const args = ["config", "--type=path", "--get-all", "-z", "safe.directory"];
  const call = { folder: "/", environment: networkEnvironment() };
  const listed = await runGit(args, call).catch((error: unknown) => {
    if (error instanceof GitError && error.problem === "failed") return Buffer.of();
    throw error;
  });
  let safe = false;
  for (const value of listed.toString().split("\0").slice(0, -1)) {
    // An empty value forgets those before it.
    if (value === "") safe = false;
    else if (value === "*" || value === main || realOf(value) === main) safe = true;
    else if (value.endsWith("/*") && main.startsWith(value.slice(0, -1))) safe = true;
  }
  return safe;
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Whether there is something. What can't be looked at counts: reading it gives the error. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

function why(error: unknown): string {
  if (error instanceof RegularFileError) return error.message.slice(error.path.length + 1);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") return "nothing";
  return `something that can't be read (${String(code ?? error)})`;
}
