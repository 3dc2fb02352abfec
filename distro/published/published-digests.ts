import { type Digest, digestFromHex } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { type DigestSet, digestSetOfPlatform } from "../tree/digests-file.ts";
import type { Tree } from "../tree/tree.ts";

/** The digests that a tree publishes: in StageX's own files, and in ours beside them. */
export type PublishedFiles = Pick<Tree, "digests"> & Partial<Pick<Tree, "furtherDigests">>;

/** The images of a tree, and their published digests. */
export type TreeWithDigests = Pick<Tree, "images"> & PublishedFiles;

/** The published digests of one image. */
export type PublishedDigests = {
  /** The published manifests, by platform in the image's order. */
  readonly platforms: Readonly<Record<string, Digest>>;
  /** The published index; undefined where there is none, or the image is for one platform. */
  readonly index: Digest | undefined;
  /** True if a manifest of each platform is published and, for several platforms, the index. */
  readonly isWhole: boolean;
};

/** Gathers the published digests of an image: its first platform's, the others', the index's. */
export function publishedDigestsOf(
  files: PublishedFiles,
  { name, platforms }: Pick<BuildPlan, "name" | "platforms">,
): PublishedDigests {
  const own = publishedDigestIn(files, name);
  const found = platforms.flatMap((platform, at) => {
    const digest =
      (at === 0 ? own : undefined) ?? publishedDigestIn(files, name, digestSetOfPlatform(platform));
    return digest === undefined ? [] : [[platform, digest] as const];
  });
  // Without StageX's own line, the published index begins with another platform than the image's
  // first.
  const index =
    own !== undefined && platforms.length > 1 ? publishedDigestIn(files, name, "index") : undefined;
  return {
    platforms: Object.fromEntries(found),
    index,
    isWhole: found.length === platforms.length && (platforms.length === 1 || index !== undefined),
  };
}

/** Finds the published manifest of an image's first platform. */
export function firstPublishedDigest(
  { images, ...files }: TreeWithDigests,
  name: string,
): Digest | undefined {
  const platforms = images.get(name)?.platforms ?? [];
  return publishedDigestsOf(files, { name, platforms }).platforms[platforms[0] ?? ""];
}

/**
 * Finds the published digest of an image in one set of files.
 * @param set by default that of its first platform
 */
export function publishedDigestIn(
  files: PublishedFiles,
  image: string,
  set: DigestSet = "",
): Digest | undefined {
  const hex = (set === "" ? files.digests : files.furtherDigests?.get(set))?.get(image);
  return hex === undefined ? undefined : digestFromHex(hex);
}
