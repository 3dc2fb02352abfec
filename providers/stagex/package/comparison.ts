import { platformSet } from "../../../distro/digests-file.ts";
import { compareManifests } from "../../../oci/compare.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";

/** Throws where the image is not the one that the tree publishes, on any platform, saying how it differs as far as that can be seen here. */
export async function compareWithPublished(
  workshop: Workshop,
  inputs: PackageInputs,
  image: PackageOutputs,
): Promise<void> {
  await compareOthers(workshop, inputs, image);
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

/** The platforms other than the first, whose digests are not in StageX's own files. */
async function compareOthers(
  workshop: Workshop,
  { image: name, expectedDigests = {} }: PackageInputs,
  image: PackageOutputs,
): Promise<void> {
  for (const [platform, published] of Object.entries(expectedDigests)) {
    const got = image.digests[platform];
    if (got === undefined || got === published) continue;
    const lines = [
      `${name}: its digest for ${platform} is not the one that the tree publishes in digests/${platformSet(platform)}`,
      `  published: ${published}`,
      `  got:       ${got} (${image.origin})`,
      `  ${await firstDifference(workshop, published, got)}`,
      "If the change is meant: pulumi config set stagex:verify false, pulumi up, and then stagex digests --write",
    ];
    throw new Error(lines.join("\n"));
  }
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
