import type { BuildPlan } from "../../distro/build-plan.ts";
import { hashContext } from "../../distro/input-key.ts";
import { type PublishedFiles, publishedDigestsOf } from "../../distro/published/published-digests.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import type { PackageInputs } from "./inputs.ts";

/**
 * The inputs of a package that its plan alone gives; its dependencies' digests come from their own resources. Mirrors are left in the tree:
 * they decide nothing, and whoever builds has it at hand.
 */
export function inputsOfPlan(
  plan: BuildPlan,
): Omit<PackageInputs, "dependencies" | "expectedDigest" | "expectedDigests"> {
  return {
    ...(plan.generator === undefined ? {} : { generator: plan.generator }),
    image: plan.name,
    version: plan.version,
    recipe: plan.recipe,
    containerfile: digestFromHex(plan.containerfile),
    ...(plan.target === null ? {} : { target: plan.target }),
    platforms: [...plan.platforms],
    buildArgs: { ...plan.buildArgs },
    context: contextOfPlan(plan),
    sources: Object.fromEntries(plan.sources.map(({ file, sha256 }) => [file, digestFromHex(sha256)])),
  };
}

/** The digests that a tree publishes of an image, as inputs of its package. */
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

/** The digest over those files of the package that its Containerfile can read. */
export function contextOfPlan(plan: BuildPlan): Digest {
  return digestFromHex(hashContext(plan.context));
}

/** A digest from the bare hex digits that StageX's own files write. */
export function digestFromHex(sha256: string): Digest {
  return parseDigest(`sha256:${sha256}`);
}
