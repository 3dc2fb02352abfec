import { digestSetOfPlatform } from "../../distro/tree/digests-file.ts";
import type { Digest } from "../../oci/digest.ts";
import { compareManifests } from "../../oci/image-diff.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { digestRequirementOf } from "./published-status.ts";

/**
 * Compares an image with the one that the tree publishes, on every platform, and reports one that is new.
 * @throws where it is held against that and is another, with how they differ as far as that can be seen here
 */
export async function checkExpectedDigest(
  context: Context,
  inputs: PackageInputs,
  image: PackageOutputs,
  { report }: Pick<Operation, "report">,
): Promise<void> {
  const [other] = findMismatches(inputs, image);
  if (!other) return;
  const { mustMatch: isHeld, reason } = await digestRequirementOf(context, inputs);
  if (!isHeld) {
    report("info", newImageText(inputs.image, other.published));
    return;
  }
  const lines = [
    `${inputs.image}: its digest${other.of} is not the one that the tree publishes in digests/${other.file}`,
    `  published: ${other.published}`,
    `  got:       ${other.got} (${image.origin})`,
    `  ${await explanation(context, other, image)}`,
    reason,
  ];
  throw new Error(lines.join("\n"));
}

/** A digest of an image that is not the published one. */
type Mismatch = {
  readonly published: Digest;
  readonly got: Digest;
  /** The file that publishes it, below `digests/`; and ` for PLATFORM`, where that is not the first, or ` of the index`. */
  readonly file: string;
  readonly of: string;
};

/** Whether an image has another digest than the published one, on any platform or of its index, and is held against that. */
export async function isDigestMismatch(
  context: Context,
  inputs: PackageInputs,
  image: FoundDigests,
): Promise<boolean> {
  return findMismatches(inputs, image).length > 0 && (await digestRequirementOf(context, inputs)).mustMatch;
}

/** What is known of an image's digests; its index may not be. */
type FoundDigests = Pick<PackageOutputs, "digest" | "digests"> & Partial<Pick<PackageOutputs, "index">>;

/**
 * Finds the digests that are not the published ones: of any platform, and of the index. The first platform, of StageX's own files, comes
 * first.
 */
export function findMismatches(
  inputs: Pick<PackageInputs, "image" | "expectedDigest" | "expectedDigests" | "expectedIndex">,
  { digest, digests, index }: FoundDigests,
): readonly Mismatch[] {
  const file = `${inputs.image.split("-", 1)[0]}.txt`;
  const first = inputs.expectedDigest ?? digest;
  const further = Object.entries(inputs.expectedDigests ?? {}).map(([platform, published]) => ({
    ...{ published, got: digests[platform] ?? published },
    ...{ file: `${digestSetOfPlatform(platform)}/${file}`, of: ` for ${platform}` },
  }));
  const around =
    inputs.expectedIndex === undefined || index === undefined
      ? []
      : [{ published: inputs.expectedIndex, got: index, file: `index/${file}`, of: " of the index" }];
  return [{ published: first, got: digest, file, of: "" }, ...further, ...around].filter(
    ({ published, got }) => published !== got,
  );
}

/** Names an image whose inputs are others than those that its published digest is of. */
export function newImageText(image: string, published: Digest): string {
  return `${image}: new, was ${published}`;
}

async function explanation(
  context: Context,
  { published, got }: Mismatch,
  { index }: PackageOutputs,
): Promise<string> {
  if (published !== index) return await findFirstDifference(context, published, got);
  return "what is published is the digest of its index, which is the same: StageX published those before 2025.06.1";
}

/** The first file in which two images differ, where the store has the first of them. */
export async function findFirstDifference(
  context: Context,
  published: Digest,
  found: Digest,
): Promise<string> {
  const store = await context.store();
  if (!(await store.find(published)))
    return `${published} is not in the store, so its files can't be compared`;
  const stored = (manifest: Digest) => ({ manifest, blobPath: (digest: Digest) => store.blobPath(digest) });
  const difference = await compareManifests(stored(published), stored(found));
  return `first difference: ${difference?.text ?? "none"}`;
}
