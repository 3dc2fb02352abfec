import type { CommonBuildOptions, Source } from "../build-plan.ts";
import type { InputKey, KeyedInputs } from "../input-key.ts";
import type { PackageToml } from "../recipe/package-toml.ts";
import type { TreeProblem } from "../tree-error.ts";
import type { TreeFile } from "../tree-source.ts";

/** An image that a package makes. */
export type PackageImage = {
  /** `<stage>-<package or subpackage>`. */
  readonly name: string;
  /** The Containerfile's stage; null for its last. */
  readonly target: string | null;
};

/**
 * All that is assumed of one generation of StageX's generator: how it reads a package, which images it makes of it, with which arguments,
 * and what their input key covers. A later generation stands beside the earlier ones, since releases of theirs are reproduced for ever.
 */
export type StagexGenerator = {
  /** How plans and inputs name it. The first has never been named in them, and stays so. */
  readonly name: string | undefined;
  /** Tells whether a tree's files are laid out for it. */
  readonly isFor: (files: readonly TreeFile[]) => boolean;
  /** Parses a package; what no build reads goes to the warnings. */
  readonly parsePackage: (file: string, text: string, warnings: TreeProblem[]) => PackageToml;
  readonly imagesOf: (stage: string, toml: PackageToml) => readonly PackageImage[];
  /** @param version `version_from` resolved; null where there is none */
  readonly buildArgsOf: (toml: PackageToml, version: string | null) => Record<string, string>;
  readonly sourcesOf: (toml: PackageToml) => readonly Source[];
  readonly computeInputKey: (inputs: KeyedInputs) => InputKey;
  /** What every build gets. What can change an image's bytes in it is in the key as `flags`. */
  readonly commonOptions: CommonBuildOptions;
};
