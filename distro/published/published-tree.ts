import { join } from "node:path";
import { RegularFileError, readRegularFile } from "../../lib/fs/regular-file.ts";
import { GitError } from "../../lib/git/git.ts";
import { findRepository, type GitRepository } from "../../lib/git/git-repository.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";
import { hexOf } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { openGitTree } from "../tree/git-tree.ts";
import { isReleaseName } from "../tree/release-name.ts";
import { readTreeSource, type Tree, type TreeOptions } from "../tree/tree.ts";
import { TreeError } from "../tree-error.ts";
import { treeFolders } from "../tree-source.ts";
import { type ReadGit, readLineHistory } from "./line-history.ts";
import { firstPublishedDigest, type TreeWithDigests } from "./published-digests.ts";

/** The tree that a checkout's `digests/*.txt` were written for, or why it is unknown. */
export type PublishedTree =
  | {
      readonly commit: string;
      readonly tree: TreeWithDigests;
      /**
       * Reads the plans that an image had at each other commit that wrote its present line; or the
       * reason why that is impossible.
       */
      readonly earlier: (image: string) => Promise<readonly BuildPlan[] | { readonly doubt: string }>;
    }
  | { readonly doubt: string };

/**
 * Finds the tree that published a checkout's digests: that of the last commit that changed
 * `digests/`, as StageX changes it in one commit a release. Where a clone does not reach back to
 * it, or there is none, the result is a doubt, not an error.
 * @param current the working tree, read with the same options: used for that commit where nothing
 *   has changed since
 */
export async function findPublishedTree(current: Tree, options: TreeOptions): Promise<PublishedTree> {
  const { root } = current;
  try {
    const repository = await findRepository(root);
    if (repository === undefined)
      return { doubt: `${root} is in no git repository; use a clone, whose history tells` };
    const read = async (...args: string[]) =>
      (await runInRepository(repository, root, args, { bytes: mostHistory })).toString();
    const commit = (await read("log", "-1", "--format=%H", "HEAD", "--", "digests")).trim();
    if (commit === "") return { doubt: `no commit of ${root} has its digests: commit digests/` };
    if (await isCutOff(repository, commit, read))
      return {
        doubt: `${root} is a shallow clone that does not reach back: use a full one (git fetch --unshallow --tags)`,
      };
    // Files that differ in the index may still be equal. Then the commit is read, which takes
    // longer and gives the same result.
    const changed = await read("diff-index", "--name-only", "-z", commit, "--", ...treeFolders);
    const treeAt = async (at: string) => await readTreeSource(await openGitTree(root, at), options);
    const tree = changed === "" ? current : await treeAt(commit);
    const isEnd = (at: string) => isCutOff(repository, at, read);
    return { commit, tree, earlier: earlierPlans({ commit, tree }, { read, treeAt, isEnd }) };
  } catch (error) {
    return { doubt: `the commit that published its digests can't be read: ${readingError(error)}` };
  }
}

/** The access to git's repository that {@link earlierPlans} needs. */
type Reading = {
  readonly read: ReadGit;
  readonly treeAt: (commit: string) => Promise<Pick<Tree, "images">>;
  readonly isEnd: (commit: string) => Promise<boolean>;
};

/** The longest output of git, in bytes. StageX's history of `digests/` has half a megabyte. */
const mostHistory = 2 ** 24;

/** The most commits that may have written one line. */
const mostWriters = 8;

/**
 * Reads an image's plans at the commits that wrote its line. The last commit that changed
 * `digests/` may have changed only another image's line, together with this image's inputs.
 */
function earlierPlans(
  { commit, tree }: { commit: string; tree: TreeWithDigests },
  { read, treeAt, isEnd }: Reading,
): Extract<PublishedTree, { commit: string }>["earlier"] {
  let writers: ReturnType<typeof readLineHistory> | undefined;
  /** The trees of those commits; null for one at which a shallow clone ends. */
  const trees = new Map<string, Promise<Pick<Tree, "images"> | null>>();
  return async (image) => {
    const digest = firstPublishedDigest(tree, image);
    const line = `${digest && hexOf(digest)} ${image}`;
    try {
      writers ??= readLineHistory(read, commit);
      const commits = (await writers)(line);
      if (commits.length === 0 || commits.length > mostWriters)
        return { doubt: `${commits.length} commits wrote its line in digests/` };
      const plans: BuildPlan[] = [];
      for (const at of commits) {
        if (at === commit) continue;
        const reached = trees.get(at) ?? isEnd(at).then((ends) => (ends ? null : treeAt(at)));
        trees.set(at, reached);
        const earlier = await reached;
        if (earlier === null) return { doubt: `the commit that wrote its line in digests/ ${notReached}` };
        const plan = earlier.images.get(image);
        if (plan) plans.push(plan);
      }
      return plans;
    } catch (error) {
      return { doubt: `a commit that wrote its line in digests/ can't be read: ${readingError(error)}` };
    }
  };
}

const notReached = "is not in this shallow clone: use a full one (git fetch --unshallow --tags)";

/** Returns the reason why reading failed; rethrows errors of other kinds. */
function readingError(error: unknown): string {
  if (error instanceof GitError || error instanceof TreeError || error instanceof RegularFileError)
    return error.message;
  throw error;
}

/** In bytes: enough for some 25,000 commits at which a clone ends. */
const largestShallow = 2 ** 20;

/**
 * Checks whether a shallow clone ends at this commit. If so, the commit seems to add all of its
 * files (git-log(1) knows no parent of it), whichever commit really did. A release's tag proves
 * that it is the release.
 */
async function isCutOff(
  { commonFolder }: GitRepository,
  commit: string,
  read: (...args: string[]) => Promise<string>,
): Promise<boolean> {
  if ((await read("rev-parse", "--is-shallow-repository")).trim() !== "true") return false;
  const ends = (await readRegularFile(join(commonFolder, "shallow"), largestShallow)).toString().split("\n");
  if (!ends.includes(commit)) return false;
  return !(await read("tag", "--points-at", commit)).split("\n").some(isReleaseName);
}
