import { GitError } from "../../lib/git/git.ts";
import { isSettingOn } from "../../lib/git/git-config.ts";
import { diskKeeps, findRepository } from "../../lib/git/git-repository.ts";
import { RepositoryError } from "../../lib/git/git-repository-checks.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { TreeError, type TreeProblem } from "../tree-error.ts";
import { type TreeFile, treeFolders } from "../tree-source.ts";

/** The files of a tree that git tracks. */
export type TrackedFiles = {
  /** Path to the mode that git's index records. */
  readonly modes: ReadonlyMap<string, TreeFile["mode"]>;
  /** The files that a sparse checkout may leave out of the working tree. */
  readonly skipped: readonly string[];
  /** Returns the command that restores a file to the working tree. */
  readonly unskipCommand: (path: string) => string;
  /**
   * True where the disk keeps modes (`core.fileMode`) and symbolic links (`core.symlinks`). Where
   * it does not, the index decides.
   */
  readonly diskKeeps: { readonly modes: boolean; readonly links: boolean };
  readonly problems: readonly TreeProblem[];
};

/**
 * Reads the entries of git's index at and below a folder.
 * @returns undefined where there is no repository
 * @throws TreeError if there is one that cannot be read, GitError if git is not installed
 */
export async function readTrackedFiles(root: string): Promise<TrackedFiles | undefined> {
  try {
    const repository = await findRepository(root);
    if (repository === undefined) return undefined;
    const args = ["ls-files", "-t", "--stage", "-z", "--", ...treeFolders];
    const listed = (await runInRepository(repository, root, args)).toString();
    const sparse = isSettingOn(repository.config, "core.sparsecheckout", false);
    const unskip = (path: string) =>
      `git -C ${quoteShellWord(root)} ${sparse ? "sparse-checkout disable" : `update-index --no-skip-worktree ${quoteShellWord(path)}`}`;
    return { ...parseIndex(listed), unskipCommand: unskip, diskKeeps: diskKeeps(repository) };
  } catch (error) {
    throw asTreeError(error, { file: root, allowed: "a git checkout that git can read" });
  }
}

/** Converts an error of git into one of the tree. Keeps others, and that git is not installed. */
export function asTreeError(error: unknown, where: Pick<TreeProblem, "file" | "allowed">): unknown {
  if (error instanceof RepositoryError) {
    const { path, ...problem } = error.details;
    return new TreeError([{ file: path, ...problem }]);
  }
  if (!(error instanceof GitError) || error.problem === "not-installed") return error;
  return new TreeError([{ ...where, found: error.message }]);
}

function parseIndex(listed: string): Pick<TrackedFiles, "modes" | "skipped" | "problems"> {
  const modes = new Map<string, TreeFile["mode"]>();
  const skipped: string[] = [];
  // By path: a file in conflict is listed once for each side.
  const problems = new Map<string, TreeProblem>();
  for (const entry of listed.split("\0")) {
    // <tag> <mode> <object> <stage>\t<path>
    const [, tag, written, stage, path] = /^(\S) (\d+) \S+ (\d)\t([\s\S]+)$/.exec(entry) ?? [];
    if (written === undefined || path === undefined) continue;
    const mode = fileModes[written];
    if (stage !== "0") {
      const [found, allowed] = ["an unresolved merge conflict", "resolved files"];
      problems.set(path, { file: path, found, allowed, fix: `git add ${quoteShellWord(path)}` });
    } else if (mode === undefined) {
      problems.set(path, { file: path, found: "a submodule", allowed: "files" });
    } else if (path.includes("\uFFFD")) {
      problems.set(path, { file: path, found: "a name that is not UTF-8", allowed: "names in UTF-8" });
    } else {
      modes.set(path, mode);
      if (tag === "S") skipped.push(path);
    }
  }
  return { modes, skipped, problems: [...problems.values()] };
}

/** git's modes of files; 100664 comes from git's first days, and means 100644. */
export const fileModes: Readonly<Record<string, TreeFile["mode"] | undefined>> = {
  "100644": "100644",
  "100664": "100644",
  "100755": "100755",
  "120000": "120000",
};
