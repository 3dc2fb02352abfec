import { lstatSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { GitError, networkEnvironment, runGit } from "./git.ts";
import { RegularFileError, readRegularFileSync } from "./regular-file.ts";

/** What is wrong with a repository: where, what was found, what is allowed, and the command that mends it, if there is one. */
export type RepositoryProblem = {
  readonly path: string;
  readonly found: string;
  readonly allowed: string;
  readonly mend?: string;
};

/** A repository that is not read: it is broken, leads elsewhere or is another user's. */
export class RepositoryError extends GitError {
  override readonly name = "RepositoryError";
  readonly details: RepositoryProblem;

  constructor(details: RepositoryProblem) {
    const { path, found, allowed, mend } = details;
    super(`${path}: found ${found}, allowed: ${allowed}${mend === undefined ? "" : ` (mend: ${mend})`}`);
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
 * would show objects of other repositories on this machine.
 * @throws RepositoryError
 */
export function checkLayout(gitFolder: string, commonFolder: string): string {
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
    join(gitFolder, "index"),
    ...["packed-refs", "shallow"].map((name) => join(commonFolder, name)),
  ];
  for (const file of files) if (isThere(file)) expectKind(file, "a file");
  const objects = join(commonFolder, "objects");
  for (const folder of [objects, join(objects, "pack")]) expectNoLinks(folder);
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

function expectNoLinks(folder: string): void {
  if (!isThere(folder)) return;
  try {
    const link = readdirSync(folder, { withFileTypes: true }).find((entry) => entry.isSymbolicLink());
    if (link === undefined) return;
    const path = join(folder, link.name);
    throw new RepositoryError({ path, found: "a symbolic link", allowed: "objects of this repository" });
  } catch (error) {
    if (error instanceof RepositoryError) throw error;
    throw new RepositoryError({ path: folder, found: why(error), allowed: "a folder that can be read" });
  }
}

function expectNoAlternates(path: string): void {
  if (!isThere(path)) return;
  const [first] = readSmallFile(path).trim().split("\n");
  if (first === undefined || first === "") return;
  throw new RepositoryError({
    path,
    found: `a way to the objects in ${JSON.stringify(first)}`,
    allowed: "a repository with all its objects",
    mend: `git repack -a -d, there, and then rm ${path}`,
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
    mend: `git config --global --add safe.directory ${main}`,
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
