import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GitCall, localEnvironment, runGit } from "./git.ts";
import type { GitConfig } from "./git-config.ts";
import { diskKeeps, type GitRepository, requireRepository } from "./git-repository.ts";
import { RepositoryError, sharedIndexes } from "./git-repository-checks.ts";

/** Limit of git's output, in bytes: about a million files. */
const listLimit = 2 ** 27;

/**
 * Runs a git command that only reads in a folder of a repository, and returns its output. Settings,
 * hooks, filters and attributes of the repository and of the user have no effect. Nothing is
 * fetched or written.
 * @param more git's standard input, and the limit of its output: a few objects may list any number
 * of files
 * @throws GitError
 */
export async function runInRepository(
  repository: GitRepository,
  folder: string,
  args: readonly string[],
  more: Pick<GitCall, "input" | "bytes" | "seconds" | "onOutput"> = {},
): Promise<Buffer> {
  // Synchronous: twenty calls through the thread pool would take longer than git itself.
  const view = mkdtempSync(join(tmpdir(), "stagex-git-"));
  try {
    makeView(repository, view);
    return await runGit(args, {
      folder: repository.workTree === null ? view : folder,
      environment: localEnvironment(view, repository.workTree),
      bytes: listLimit,
      ...more,
    });
  } finally {
    rmSync(view, { recursive: true, force: true });
  }
}

/**
 * Does what {@link runInRepository} does, in the repository that the folder is part of.
 * @throws RepositoryError also where there is none; GitError
 */
export async function runGitIn(folder: string, args: readonly string[]): Promise<Buffer> {
  return await runInRepository(await requireRepository(folder), folder, args);
}

/**
 * Creates a repository that links to the real one's objects, refs and index, with a configuration
 * of its own.
 */
function makeView(repository: GitRepository, view: string): void {
  const { gitFolder, commonFolder } = repository;
  const keeps = diskKeeps(repository);
  const settings = [
    "[core]",
    "repositoryformatversion = 1",
    `bare = ${repository.workTree === null}`,
    `fileMode = ${keeps.modes}`,
    `symlinks = ${keeps.links}`,
    "fsmonitor = false",
    "hooksPath = /dev/null",
    "[extensions]",
    ...extensions(repository.config, commonFolder),
    ...upstreams(repository.config),
  ];
  writeFileSync(join(view, "config"), `${settings.join("\n")}\n`);
  writeFileSync(join(view, "HEAD"), repository.head);
  mkdirSync(join(view, "logs"));
  const own = sharedIndexes(gitFolder);
  const links = [
    ...["objects", "refs", "packed-refs", "shallow", "logs/refs"].map(
      (name) => [commonFolder, name] as const,
    ),
    ...["index", "reftable", "logs/HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", ...own].map(
      (name) => [gitFolder, name] as const,
    ),
  ];
  for (const [from, name] of links) symlinkSync(join(from, name), join(view, name));
}

/**
 * Returns the settings that `@{upstream}` in a revision needs (gitrevisions(7)), as lines of a
 * configuration. They name only remotes and refs. There may be more of them than an environment can
 * hold.
 */
function upstreams(config: GitConfig): string[] {
  return [...config].flatMap(([name, value]) => {
    const needed = /^(?:(branch)\.(.+)\.(remote|merge)|(remote)\.(.+)\.(fetch))$/.exec(name)?.slice(1);
    const [section, subsection = "", variable] = needed?.filter((part) => part !== undefined) ?? [];
    return section === undefined
      ? []
      : [`[${section} ${inQuotes(subsection)}]`, `${variable} = ${inQuotes(value)}`];
  });
}

/** Quotes a name or a value for a configuration (git-config(1), "CONFIGURATION FILE"). */
function inQuotes(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}

/** Returns the settings for the format of objects and refs. */
function extensions(config: GitConfig, commonFolder: string): string[] {
  const formats = { objectformat: ["sha1", "sha256"], refstorage: ["files", "reftable"] };
  return Object.entries(formats).flatMap(([name, allowed]) => {
    const value = config.get(`extensions.${name}`);
    if (value === undefined || value === allowed[0]) return [];
    if (allowed.includes(value)) return [`${name} = ${value}`];
    const path = join(commonFolder, "config");
    throw new RepositoryError({
      path,
      found: `extensions.${name} ${JSON.stringify(value)}`,
      allowed: allowed.join(" or "),
    });
  });
}
