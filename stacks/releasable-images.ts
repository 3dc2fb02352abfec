import type { ReleaseImage } from "../components/release.ts";
import type { BuildPlan } from "../distro/build-plan.ts";
import { inputKeyIfKnown, type KeyLookup, predictDigests } from "../distro/plan/predict-digests.ts";
import { type PublishedDigests, publishedDigestsOf } from "../distro/published/published-digests.ts";
import type { InputsStatus } from "../distro/published/published-inputs.ts";
import type { Tree } from "../distro/tree/tree.ts";
import type { Digest } from "../oci/digest.ts";
import type { Image } from "../oci/image.ts";

/** One that can't, and why. */
export type UnreleasableImage = { readonly name: string; readonly reason: string };

/** What images are known to be, by whose word. */
export type DigestSources = {
  /** What the tree publishes; empty where nothing is to be held against it. */
  readonly published: Tree["digests"];
  /** What it publishes of further platforms and of indexes. */
  readonly furtherPublished: Tree["furtherDigests"];
  /** How the images' inputs stand to those that this was published of, by what they are built from; as published where not given. */
  readonly standings?: (
    references: ReadonlyMap<string, Digest>,
  ) => Promise<ReadonlyMap<string, InputsStatus>>;
  /** What was built here from these very inputs. */
  readonly built: KeyLookup;
  /** The same, also by others whose word is taken. */
  readonly ledger: KeyLookup;
  /** The image with this manifest and for these platforms, if it is here. */
  readonly stored: (manifest: Digest, platforms: readonly string[]) => Promise<Image | null>;
};

/**
 * What is to be released of a tree: the digest that its `digests/*.txt` publish of an image, else what the ledger knows its present
 * inputs to give. The ledger, and not another stack's outputs: it is what a reproduce stack leaves behind, of whichever name and on
 * whichever machine, merges with other maintainers', and answers for exactly these inputs, where an output may be of an older tree.
 * Where the tree publishes another digest than what was built here, neither is released. What only others say is against it has no say.
 * A digest that was published of other inputs is no digest of these.
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
    const reason = `the tree publishes ${other.published}, and its inputs are known to give ${other.got}: build it again, or write the digests anew (stagex digests --write)`;
    return { name, reason };
  }
  const known = await builtFrom(plan, references, sources.ledger);
  const digest = known?.digests[first];
  if (known && digest && !otherThan(all, known)) return { name, version, digest, ...known };
  if (!published)
    return {
      name,
      reason: "nobody has built it from these inputs, and the tree publishes no digest of them",
    };
  if (platforms.length === 1) return { name, version, digest: published, digests: { [first]: published } };
  const image = await sources.stored(published, platforms);
  if (!image) {
    const reason = `it is for ${platforms.join(" and ")}, and the tree publishes the first one's digest alone: build it first`;
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

/** Finds the first digest that is not the published one. */
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

/** What the ledger knows of the present inputs, if it is all that a release needs. */
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
