import { type Digest, digestFromHex, hexOf } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { findGenerator } from "../generator/known-generators.ts";
import { hashContext, type InputKey } from "../input-key.ts";

/** The inputs of an image's build, as a package has them: each file by its digest. */
export type ImageInputs = {
  readonly generator?: string | undefined;
  readonly image: string;
  readonly version: string;
  readonly containerfile: Digest;
  readonly target?: string | undefined;
  readonly platforms: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly context: Digest;
  /** File name to digest. */
  readonly sources: Readonly<Record<string, Digest>>;
  /** Image name to the digest of its manifest or, for several platforms, of its index. */
  readonly dependencies: Readonly<Record<string, Digest>>;
};

/** Computes the key of all inputs that can change the image's bytes. */
export function inputKeyOf(inputs: ImageInputs): InputKey {
  return findGenerator(inputs.generator).computeInputKey({
    image: inputs.image,
    version: inputs.version,
    containerfile: hexOf(inputs.containerfile),
    context: hexOf(inputs.context),
    target: inputs.target ?? null,
    platforms: inputs.platforms,
    buildArgs: inputs.buildArgs,
    sources: Object.entries(inputs.sources).map(([file, digest]) => ({ file, sha256: hexOf(digest) })),
    dependencies: inputs.dependencies,
  });
}

/**
 * Returns the inputs that a plan alone gives: dependencies' digests come from elsewhere. Mirrors
 * stay in the tree, which every builder has: they do not change the image.
 */
export function inputsOfPlan(plan: BuildPlan) {
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

/** Hashes those files of the package that its Containerfile can read. */
export function contextOfPlan(plan: BuildPlan): Digest {
  return digestFromHex(hashContext(plan.context));
}
