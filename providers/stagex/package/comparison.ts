import { compareManifests } from "../../../oci/compare.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";

/** Throws where the image is not the one that the tree publishes, saying how it differs as far as that can be seen here. */
export async function compareWithPublished(
  workshop: Workshop,
  inputs: PackageInputs,
  image: PackageOutputs,
): Promise<void> {
  const published = inputs.expectedDigest;
  if (!published || published === image.digest) return;
  const lines = [
    `${inputs.image}: its digest is not the one that the tree publishes in digests/${inputs.image.split("-", 1)[0]}.txt`,
    `  published: ${published}`,
    `  got:       ${image.digest} (${image.origin})`,
    `  ${await explanation(workshop, published, image)}`,
    "If the change is meant: pulumi config set stagex:verify false, pulumi up, and then stagex digests --write",
  ];
  throw new Error(lines.join("\n"));
}

async function explanation(workshop: Workshop, published: Digest, image: PackageOutputs): Promise<string> {
  if (published !== image.index) return await firstDifference(workshop, published, image.digest);
  return "what is published is the digest of its index, which is the same: StageX published those before 2025.06.1";
}

async function firstDifference(workshop: Workshop, published: Digest, found: Digest): Promise<string> {
  const store = await workshop.store();
  if (!(await store.find(published)))
    return "the published image is not in the store, so its files can't be compared";
  const stored = (manifest: Digest) => ({ manifest, blobPath: (digest: Digest) => store.blobPath(digest) });
  const difference = await compareManifests(stored(published), stored(found));
  return `first difference: ${difference?.text ?? "none"}`;
}
