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
 * The assumptions about one generation of StageX's generator: the form of packages, their images
 * and arguments, and the inputs that the key covers. Later generations do not replace earlier ones,
 * since releases of those are reproduced for ever.
 */
export type StagexGenerator = {
  /** Its name in plans and inputs. The first generation is not named in them, and stays so. */
  readonly name: string | undefined;
  /** Checks whether a tree's files are laid out for it. */
  readonly isFor: (files: readonly TreeFile[]) => boolean;
  /** Parses a package; mistakes in fields that builds do not read go to the warnings. */
  readonly parsePackage: (file: string, text: string, warnings: TreeProblem[]) => PackageToml;
  readonly imagesOf: (stage: string, toml: PackageToml) => readonly PackageImage[];
  /** @param version `version_from` resolved; null where there is none */
  readonly buildArgsOf: (toml: PackageToml, version: string | null) => Record<string, string>;
  readonly sourcesOf: (toml: PackageToml) => readonly Source[];
  readonly computeInputKey: (inputs: KeyedInputs) => InputKey;
  /** Options of every build. Those that can change an image's bytes are in the key as `flags`. */
  readonly commonOptions: CommonBuildOptions;
};
