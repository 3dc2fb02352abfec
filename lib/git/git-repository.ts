import { lstatSync, readlinkSync, realpathSync, type Stats } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { redactAddress } from "../text/redacted-address.ts";
import { quoteShellWord } from "../text/shell-word.ts";
import { GitError } from "./git.ts";
import { type GitConfig, isSettingOn, parseGitConfig } from "./git-config.ts";
import { checkGitLayout, checkOwner, RepositoryError, readSmallFile } from "./git-repository-checks.ts";

/**
 * The git repository that a folder is part of. Others may have written all of it, its configuration
 * included, so git must not read that: runInRepository (isolated-git.ts) shows git only the objects, refs and
 * index.
 */
export type GitRepository = {
  /** The folder with `.git` in it; null for a bare repository. */
  readonly workTree: string | null;
  /** The folder with HEAD and the index. */
  readonly gitFolder: string;
  /**
   * The folder with objects, refs and the configuration: the main repository's for a linked
   * worktree.
   */
  readonly commonFolder: string;
  readonly head: string;
  /** Its configuration file, parsed. */
  readonly config: GitConfig;
};

/**
 * Finds the repository that a folder is part of: that of the nearest `.git`, in the folder or above
 * it, on the same file system. A bare repository is found only where the folder itself is one and
 * has no tree in it, so that files of a tree never pass for one.
 * @returns undefined where there is none
 * @throws RepositoryError where a `.git` can't be read, leads elsewhere or is another user's;
 * GitError
 */
export async function findRepository(folder: string): Promise<GitRepository | undefined> {
  const start = realOf(folder);
  if (start === undefined)
    throw new RepositoryError({
      path: redactAddress(folder),
      found: "no such folder",
      allowed: "the folder of a tree, and no address",
    });
  const { dev } = lstatSync(start);
  for (let at = start; lstatSync(at).dev === dev; at = dirname(at)) {
    if (statsOf(join(at, ".git")) !== undefined) return await repositoryAt(at);
    if (at === dirname(at)) break;
  }
  const isBare = ["HEAD", "objects", "refs"].every((name) => statsOf(join(start, name)) !== undefined);
  if (!isBare || statsOf(join(start, "packages")) !== undefined) return undefined;
  return await checked({ workTree: null, gitFolder: start, commonFolder: start }, []);
}

/**
 * Finds the repository that a folder is part of.
 * @throws RepositoryError also where there is none; GitError
 */
export async function requireRepository(folder: string): Promise<GitRepository> {
  const repository = await findRepository(folder);
  if (repository !== undefined) return repository;
  const [found, allowed] = ["no git repository", "a folder of a git repository"];
  throw new RepositoryError({ path: folder, found, allowed });
}

/**
 * Returns whether the disk keeps modes and symbolic links; where it does not, the index decides
 * (git-config(1)).
 */
export function diskKeeps({ config }: GitRepository): { readonly modes: boolean; readonly links: boolean } {
  return {
    modes: isSettingOn(config, "core.filemode", true),
    links: isSettingOn(config, "core.symlinks", true),
  };
}

async function repositoryAt(workTree: string): Promise<GitRepository> {
  const dotGit = join(workTree, ".git");
  const stats = lstatSync(dotGit);
  if (!stats.isDirectory()) {
    const written = stats.isSymbolicLink() ? readlinkSync(dotGit) : gitFolderIn(dotGit);
    return await linkedRepository(workTree, dotGit, folderAt(dotGit, resolve(workTree, written)));
  }
  if (statsOf(join(dotGit, "commondir")) !== undefined)
    throw leadsElsewhere(dotGit, join(dotGit, "commondir"));
  const repository = await checked({ workTree, gitFolder: dotGit, commonFolder: dotGit }, []);
  const named = repository.config.get("core.worktree");
  if (named !== undefined && realOf(resolve(dotGit, named)) !== workTree) throw leadsElsewhere(dotGit, named);
  return repository;
}

/** Returns the real path of the folder that a `.git` names. */
function folderAt(dotGit: string, written: string): string {
  const folder = realOf(written);
  if (folder !== undefined && lstatSync(folder).isDirectory()) return folder;
  throw new RepositoryError({
    path: dotGit,
    found: `a link to ${JSON.stringify(written)}, where there is no folder`,
    allowed:
      "a repository that can be reached from here (where only a worktree is mounted, mount its repository too)",
  });
}

/** Reads the folder that a `.git` file names (gitrepository-layout(5)). */
function gitFolderIn(dotGit: string): string {
  const named = /^gitdir: ([^\0\n]+)\n*$/.exec(readSmallFile(dotGit))?.[1];
  if (named !== undefined) return named;
  const [found, allowed] = ["a file that names no folder", 'a git repository, or "gitdir: " and its folder'];
  throw new RepositoryError({ path: dotGit, found, allowed });
}

/**
 * Reads the repository of a linked worktree or a submodule. Any folder could name any repository,
 * so the repository must name this folder too, in `worktrees/<name>/gitdir` or `core.worktree`.
 */
async function linkedRepository(workTree: string, dotGit: string, gitFolder: string): Promise<GitRepository> {
  if (statsOf(join(gitFolder, "commondir")) === undefined) {
    const repository = await checked({ workTree, gitFolder, commonFolder: gitFolder }, [dotGit]);
    const back = repository.config.get("core.worktree");
    if (back !== undefined && realOf(resolve(gitFolder, back)) === workTree) return repository;
    throw leadsElsewhere(
      dotGit,
      gitFolder,
      `git -C ${quoteShellWord(gitFolder)} config core.worktree ${quoteShellWord(workTree)}`,
    );
  }
  const commonFolder = realOf(resolve(gitFolder, readSmallFile(join(gitFolder, "commondir")).trimEnd()));
  const back = resolve(gitFolder, readSmallFile(join(gitFolder, "gitdir")).trimEnd());
  const isItsOwn =
    commonFolder !== undefined && gitFolder === join(commonFolder, "worktrees", basename(gitFolder));
  if (!isItsOwn || realOf(back) !== realOf(dotGit))
    throw leadsElsewhere(dotGit, gitFolder, `git -C ${quoteShellWord(workTree)} worktree repair`);
  return await checked({ workTree, gitFolder, commonFolder }, [dotGit]);
}

function leadsElsewhere(dotGit: string, target: string, fix?: string): RepositoryError {
  return new RepositoryError({
    path: dotGit,
    found: `a link to ${JSON.stringify(target)}, which does not name this folder as its worktree`,
    allowed: "the repository of this folder",
    ...(fix === undefined ? {} : { fix }),
  });
}

/** Reads HEAD and the configuration of a repository that is sound and this user's. */
async function checked(
  place: Pick<GitRepository, "workTree" | "gitFolder" | "commonFolder">,
  pointers: readonly string[],
): Promise<GitRepository> {
  const { workTree, gitFolder, commonFolder } = place;
  const main = workTree ?? gitFolder;
  await checkOwner(main, [main, gitFolder, commonFolder, ...pointers]);
  const head = checkGitLayout(gitFolder, commonFolder);
  const config = await configOf(gitFolder, commonFolder);
  return { ...place, head, config };
}

/** Limit of a configuration, in bytes; a clone of some thousand branches has 200 KB. */
const configLimit = 2 ** 22;

async function configOf(gitFolder: string, commonFolder: string): Promise<GitConfig> {
  const path = join(commonFolder, "config");
  try {
    const text = readSmallFile(path, configLimit);
    const config = await parseGitConfig(text);
    const own = join(gitFolder, "config.worktree");
    if (!isSettingOn(config, "extensions.worktreeconfig", false) || statsOf(own) === undefined) return config;
    return await parseGitConfig(`${text}\n${readSmallFile(own, configLimit)}`);
  } catch (error) {
    if (!(error instanceof GitError) || error.problem !== "failed" || error instanceof RepositoryError)
      throw error;
    throw new RepositoryError({ path, found: error.message, allowed: "a configuration that git can read" });
  }
}

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Resolves the links in a path; undefined where there is nothing. */
function realOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
