import { keyOfPlan } from "../../../distro/known-digests.ts";
import type { Tree } from "../../../distro/tree.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { keyOf } from "./key.ts";
import { digestFrom } from "./plan.ts";
import { type KnownDigests, recordedDigests } from "./record.ts";

/** What is certain of the outputs before anything is built: all digests where they are known from the inputs. */
export async function foretell(workshop: Workshop, inputs: PackageInputs): Promise<Partial<PackageOutputs>> {
  return { ...(await trustedDigests(workshop, inputs)), inputKey: keyOf(inputs) };
}

/**
 * The digests that these very inputs have: those in the ledger or, for images that may be substituted where `stagex:trust`
 * is `release`, those that the tree publishes of them.
 */
export async function trustedDigests(
  workshop: Workshop,
  inputs: PackageInputs,
): Promise<KnownDigests | undefined> {
  const recorded = await recordedDigests(workshop, keyOf(inputs), inputs.platforms);
  if (recorded || workshop.config.trust !== "release") return recorded;
  return (await workshop.mayBeSubstituted(inputs.image))
    ? await publishedDigests(workshop, inputs)
    : undefined;
}

/**
 * What the tree publishes of these inputs: nothing where the image has changed since, or is built from anything else than
 * what is published; and nothing of an image for several platforms, of which only the first one's digest is.
 */
async function publishedDigests(
  workshop: Workshop,
  inputs: PackageInputs,
): Promise<KnownDigests | undefined> {
  const release = await workshop.release();
  const plan = release?.images.get(inputs.image);
  const digest = publishedIn(release, inputs.image);
  const [platform = "", ...others] = inputs.platforms;
  if (!plan || !digest || others.length > 0) return undefined;
  if (keyOfPlan(plan, inputs.dependencies) !== keyOf(inputs)) return undefined;
  for (const [name, reference] of Object.entries(inputs.dependencies)) {
    if (!(await isOf(workshop, publishedIn(release, name), reference))) return undefined;
  }
  return { digest, digests: { [platform]: digest }, reference: digest };
}

function publishedIn(release: Tree | undefined, image: string): Digest | undefined {
  const hex = release?.digests.get(image);
  return hex === undefined ? undefined : digestFrom(hex);
}

/** Whether a dependency is the published one: its manifest, or the index in which that one comes first. */
async function isOf(workshop: Workshop, published: Digest | undefined, reference: Digest): Promise<boolean> {
  if (!published || published === reference) return published !== undefined;
  const image = await (await workshop.store()).find(published);
  return image?.index === reference && image.manifests[0]?.digest === published;
}
