import { realpathSync } from "node:fs";
import { GitError } from "../../lib/git/git.ts";
import { findRepository } from "../../lib/git/git-repository.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";
import { compareReleases, isReleaseName, parseReleaseName } from "./release-name.ts";

/**
 * Finds the release of a checkout: the newest release tag at its commit. Undefined where there is
 * none, or the folder is not the repository's top folder.
 */
export async function findTreeRelease(root: string): Promise<string | undefined> {
  try {
    const repository = await findRepository(root);
    if (repository === undefined || repository.workTree !== realpathSync(root)) return undefined;
    const tags = (await runInRepository(repository, root, ["tag", "--points-at", "HEAD"]))
      .toString()
      .split("\n");
    return tags
      .filter(isReleaseName)
      .sort((a, b) => compareReleases(parseReleaseName(a), parseReleaseName(b)))
      .at(-1);
  } catch (error) {
    if (error instanceof GitError) return undefined;
    throw error;
  }
}
