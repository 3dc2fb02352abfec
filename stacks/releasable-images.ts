import type { ReleaseImage } from "../components/release.ts";
import type { BuildPlan } from "../distro/build-plan.ts";
import { inputKeyIfKnown, type KeyLookup, predictDigests } from "../distro/plan/predict-digests.ts";
import { type PublishedDigests, publishedDigestsOf } from "../distro/published/published-digests.ts";
import type { InputsStatus } from "../distro/published/published-inputs.ts";
import type { Tree } from "../distro/tree/tree.ts";
import type { Digest } from "../oci/digest.ts";
import type { Image } from "../oci/image.ts";

/** An image that cannot be released, and the reason. */
export type UnreleasableImage = { readonly name: string; readonly reason: string };

/** The sources of images' digests. */
export type DigestSources = {
  /** The digests that the tree publishes; empty if none apply. */
  readonly published: Tree["digests"];
  /** The published digests of further platforms and of indexes. */
  readonly furtherPublished: Tree["furtherDigests"];
  /**
   * Compares the images' inputs with those of the published digests, given the digests that they are
   * built from. Default: all inputs are the published ones.
   */
  readonly standings?: (
    references: ReadonlyMap<string, Digest>,
  ) => Promise<ReadonlyMap<string, InputsStatus>>;
  /** Looks up builds on this machine from exactly these inputs. */
  readonly built: KeyLookup;
  /** Looks up builds, including those of trusted others. */
  readonly ledger: KeyLookup;
  /** Finds the image with this manifest and these platforms in the store. */
  readonly stored: (manifest: Digest, platforms: readonly string[]) => Promise<Image | null>;
};

/**
 * Finds the digests to release: for each image, the digest in the tree's `digests/*.txt`, else the
 * ledger's for its present inputs. It reads the ledger, not another stack's outputs: every
 * reproduce stack writes to it, on any machine, it merges with other maintainers' ledgers, and it
 * answers for exactly these inputs, while an output may be of an older tree.
 *
 * If a build on this machine differs from the tree's digest, neither is released. Records of others
 * cannot contradict the tree. A digest published for other inputs does not count.
 */
export async function findReleasableImages(
  images: ReadonlyMap<string, BuildPlan>,
  chosen: readonly BuildPlan[],
  sources: DigestSources,
): Promise<{ released: readonly ReleaseImage[]; unreleased: readonly UnreleasableImage[] }> {
  const references = await predictDigests(images, sources.ledger);
  const standings = await sources.standings?.(references);
  const isHeld = (image: string) => (standings?.get(image) ?? "published") === "published";
  const heldOf = (digests: Tree["digests"]) => new Map([...digests].filter(([image]) => isHeld(image)));
  const furtherPublished = new Map(
    [...sources.furtherPublished].map(([set, digests]) => [set, heldOf(digests)]),
  );
  const held = { ...sources, published: heldOf(sources.published), furtherPublished };
  const found = await Promise.all(chosen.map((plan) => releasedImage(plan, references, held)));
  return {
    released: found.filter((one) => "digest" in one),
    unreleased: found.filter((one) => "reason" in one),
  };
}

async function releasedImage(
  plan: BuildPlan,
  references: ReadonlyMap<string, Digest>,
  sources: DigestSources,
): Promise<ReleaseImage | UnreleasableImage> {
  const { name, version, platforms } = plan;
  const [first = ""] = platforms;
  const files = { digests: sources.published, furtherDigests: sources.furtherPublished };
  const all = publishedDigestsOf(files, plan);
  const published = all.platforms[first];
  const own = await builtFrom(plan, references, sources.built);
  const other = own && otherThan(all, own);
  if (other) {
    const reason = `the tree publishes ${other.published}, and its inputs are known to give ${other.got}: build it again, or update the digests (stagex digests --write)`;
    return { name, reason };
  }
  const known = await builtFrom(plan, references, sources.ledger);
  const digest = known?.digests[first];
  if (known && digest && !otherThan(all, known)) return { name, version, digest, ...known };
  if (!published)
    return {
      name,
      reason: "it has not been built from these inputs, and the tree publishes no digest for them",
    };
  if (platforms.length === 1) return { name, version, digest: published, digests: { [first]: published } };
  const image = await sources.stored(published, platforms);
  if (!image) {
    const reason = `it is for ${platforms.join(" and ")}, and the tree publishes only the first one's digest: build it first`;
    return { name, reason };
  }
  const digests = Object.fromEntries(image.manifests.map(({ platform, digest }) => [platform, digest]));
  const differing = otherThan(all, { digests, index: image.index });
  if (differing) {
    const reason = `the tree publishes ${differing.published}, and the image in the store has ${differing.got}: build it again`;
    return { name, reason };
  }
  return { name, version, digest: published, digests, index: image.index };
}

/** Finds the first digest that differs from the published one. */
function otherThan(
  { platforms, index }: PublishedDigests,
  image: Pick<ReleaseImage, "digests" | "index">,
): { readonly published: Digest; readonly got: Digest } | undefined {
  const pairs = [
    ...Object.entries(platforms).map(([each, of]) => [of, image.digests[each]]),
    [index, image.index],
  ];
  const [other] = pairs.flatMap(([published, got]) =>
    published && got && published !== got ? [{ published, got }] : [],
  );
  return other;
}

/** Returns the ledger's digests for the present inputs, if they suffice for a release. */
async function builtFrom(
  plan: BuildPlan,
  references: ReadonlyMap<string, Digest>,
  lookup: KeyLookup,
): Promise<Pick<ReleaseImage, "digests" | "index"> | undefined> {
  const key = inputKeyIfKnown(plan, references);
  const known = key && (await lookup(key));
  if (!known || plan.platforms.some((platform) => !known.platforms[platform])) return undefined;
  if (plan.platforms.length > 1 && !known.index) return undefined;
  const digests = Object.fromEntries(
    plan.platforms.flatMap((platform) => {
      const digest = known.platforms[platform];
      return digest ? [[platform, digest]] : [];
    }),
  );
  return { digests, ...(known.index ? { index: known.index } : {}) };
}
