import type { BuildPlan } from "../../distro/build-plan.ts";
import { type PublishedFiles, publishedDigestsOf } from "../../distro/published/published-digests.ts";
import type { PackageInputs } from "./inputs.ts";

/** Returns the digests that a tree publishes of an image, as inputs of its package. */
export function expectedDigestsOf(
  files: PublishedFiles,
  plan: BuildPlan,
): Pick<PackageInputs, "expectedDigest" | "expectedDigests" | "expectedIndex"> {
  const [first = ""] = plan.platforms;
  const { platforms, index } = publishedDigestsOf(files, plan);
  // Without a line in StageX's own files, the first platform's digest is from a file of that platform.
  const isOwnLine = files.digests.has(plan.name);
  const expectedDigest = isOwnLine ? platforms[first] : undefined;
  const others = Object.fromEntries(
    Object.entries(platforms).filter(([platform]) => !isOwnLine || platform !== first),
  );
  return {
    ...(expectedDigest === undefined ? {} : { expectedDigest }),
    ...(Object.keys(others).length === 0 ? {} : { expectedDigests: others }),
    ...(index === undefined ? {} : { expectedIndex: index }),
  };
}
