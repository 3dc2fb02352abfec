import { findGenerator } from "../../distro/generator/known-generators.ts";
import type { InputKey } from "../../distro/input-key.ts";
import { hexOf } from "../../oci/digest.ts";
import type { PackageInputs } from "./inputs.ts";

/** The key of all inputs that can change the image's bytes. */
export function inputKeyOf(inputs: PackageInputs): InputKey {
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
