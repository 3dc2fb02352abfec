import { GitError, git } from "./git.ts";
import { compareReleases, isReleaseName, parseReleaseName } from "./release-name.ts";

/**
 * The release that a checkout is: the newest release's tag at its commit; undefined where it is none, or only a folder of some other
 * repository.
 */
export async function treeRelease(root: string): Promise<string | undefined> {
  try {
    const prefix = await git(root, ["rev-parse", "--show-prefix"]);
    if (prefix.toString().trim() !== "") return undefined;
    const tags = (await git(root, ["tag", "--points-at", "HEAD"])).toString().split("\n");
    return tags
      .filter(isReleaseName)
      .sort((a, b) => compareReleases(parseReleaseName(a), parseReleaseName(b)))
      .at(-1);
  } catch (error) {
    if (error instanceof GitError) return undefined;
    throw error;
  }
}
