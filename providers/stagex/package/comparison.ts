import { compareManifests } from "../../../oci/compare.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { Work } from "../handler.ts";
import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { holdingOf } from "./published-standing.ts";

/**
 * Compares an image with the one that the tree publishes, and reports one that is new.
 * @throws where it is held against that and is another, with how they differ as far as that can be seen here
 */
export async function compareWithPublished(
  workshop: Workshop,
  inputs: PackageInputs,
  image: PackageOutputs,
  { report }: Pick<Work, "report">,
): Promise<void> {
  const published = inputs.expectedDigest;
  if (!published || published === image.digest) return;
  const { isHeld, reason } = await holdingOf(workshop, inputs);
  if (!isHeld) {
    report("info", newText(inputs.image, published));
    return;
  }
  const lines = [
    `${inputs.image}: its digest is not the one that the tree publishes in digests/${inputs.image.split("-", 1)[0]}.txt`,
    `  published: ${published}`,
    `  got:       ${image.digest} (${image.origin})`,
    `  ${await explanation(workshop, published, image)}`,
    reason,
  ];
  throw new Error(lines.join("\n"));
}

/** Names an image whose inputs are others than those that its published digest is of. */
export function newText(image: string, published: Digest): string {
  return `${image}: new, was ${published}`;
}

async function explanation(workshop: Workshop, published: Digest, image: PackageOutputs): Promise<string> {
  if (published !== image.index) return await firstDifference(workshop, published, image.digest);
  return "what is published is the digest of its index, which is the same: StageX published those before 2025.06.1";
}

/** The first file in which two images differ, where the store has the first of them. */
export async function firstDifference(workshop: Workshop, published: Digest, found: Digest): Promise<string> {
  const store = await workshop.store();
  if (!(await store.find(published)))
    return `${published} is not in the store, so its files can't be compared`;
  const stored = (manifest: Digest) => ({ manifest, blobPath: (digest: Digest) => store.blobPath(digest) });
  const difference = await compareManifests(stored(published), stored(found));
  return `first difference: ${difference?.text ?? "none"}`;
}
