import type { BuildPlan } from "../build-plan.ts";
import type { PackageToml } from "../recipe/package-toml.ts";
import type { TreeProblem } from "../tree-error.ts";
import type { TreeSource } from "../tree-source.ts";
import { type DigestSet, publishedPlatform } from "./digests-file.ts";
import { ParseCache } from "./parse-cache.ts";
import { TreeReader } from "./tree-reader.ts";
import { openWorkingTree } from "./working-tree.ts";

/** A package: one `packages/<stage>/<name>/`. */
export type TreePackage = {
  /** `packages/core/busybox`. */
  readonly folder: string;
  readonly stage: string;
  readonly toml: PackageToml;
  /** The names of its images: its own, or those of its subpackages. */
  readonly images: readonly string[];
};

/** A complete StageX tree without problems. */
export type Tree = {
  /** The tree's folder, links resolved. */
  readonly root: string;
  /** A plan for each image by name, after those that it is built from: by level, then by name. */
  readonly images: ReadonlyMap<string, BuildPlan>;
  /** By folder, sorted. */
  readonly packages: ReadonlyMap<string, TreePackage>;
  /**
   * The digests that `digests/*.txt` publish: image name -> hex of the manifest's digest. They may
   * include images that no longer exist. Left out are lines of a platform other than the first that
   * the tree is read for.
   */
  readonly digests: ReadonlyMap<string, string>;
  /** The same of the other {@link DigestSet}s: `linux-arm64` and the like, and `index`. */
  readonly furtherDigests: ReadonlyMap<DigestSet, ReadonlyMap<string, string>>;
  /** Problems of metadata that no build reads. */
  readonly warnings: readonly TreeProblem[];
};

export type TreeOptions = {
  /** The platforms of packages without their own `platforms`; StageX's Makefile has linux/amd64. */
  readonly platforms?: readonly string[];
  /** The cache of another tree that has most files in common with this one. */
  readonly parseCache?: ParseCache;
};

/**
 * Reads the working tree at this folder.
 * @throws TreeError with all problems of the tree
 */
export async function readTree(root: string, options: TreeOptions = {}): Promise<Tree> {
  return readTreeSource(await openWorkingTree(root), options);
}

/**
 * Reads a tree from its files, wherever they are.
 * @throws TreeError with all problems of the tree
 */
export async function readTreeSource(files: TreeSource, options: TreeOptions = {}): Promise<Tree> {
  const { platforms = [publishedPlatform], parseCache: parsed = new ParseCache() } = options;
  return new TreeReader(files, platforms, parsed).read();
}
