import { type Digest, parseDigest } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import { type DigestSet, digestSetOfPlatform } from "../tree/digests-file.ts";
import type { Tree } from "../tree/tree.ts";

/** What a tree publishes of its images: StageX's own files, and ours beside them. */
export type PublishedFiles = Pick<Tree, "digests"> & Partial<Pick<Tree, "furtherDigests">>;

/** What a tree publishes of one image. */
export type PublishedDigests = {
  /** The manifests that are published, by platform in the image's order. */
  readonly platforms: Readonly<Record<string, Digest>>;
  /** The index around them; undefined where none is published, or the image is for one platform. */
  readonly index: Digest | undefined;
  /** Whether all of it is published: a manifest of each platform and, where there are several, the index. */
  readonly isWhole: boolean;
};

/** Gathers what a tree publishes of an image: of its first platform, of the others, and of the index around several. */
export function publishedDigestsOf(
  files: PublishedFiles,
  { name, platforms }: Pick<BuildPlan, "name" | "platforms">,
): PublishedDigests {
  const found = platforms.flatMap((platform, at) => {
    const digest = publishedDigestIn(files, name, at === 0 ? "" : digestSetOfPlatform(platform));
    return digest === undefined ? [] : [[platform, digest] as const];
  });
  const index = platforms.length > 1 ? publishedDigestIn(files, name, "index") : undefined;
  return {
    platforms: Object.fromEntries(found),
    index,
    isWhole: found.length === platforms.length && (platforms.length === 1 || index !== undefined),
  };
}

/**
 * Finds what a tree publishes of an image in one set of files.
 * @param set that of its first platform where not given
 */
export function publishedDigestIn(
  files: PublishedFiles,
  image: string,
  set: DigestSet = "",
): Digest | undefined {
  const hex = (set === "" ? files.digests : files.furtherDigests?.get(set))?.get(image);
  return hex === undefined ? undefined : parseDigest(`sha256:${hex}`);
}
