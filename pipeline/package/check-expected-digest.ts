import { digestSetOfPlatform } from "../../distro/tree/digests-file.ts";
import type { Digest } from "../../oci/digest.ts";
import { compareManifests } from "../../oci/image-diff.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { digestRequirementOf } from "./published-status.ts";

/**
 * Compares an image with the digests that the tree publishes, on every platform, and reports an
 * image that is new.
 * @throws Error where it differs from a digest that it must have, with the first difference if the
 *   store has both images
 */
export async function checkExpectedDigest(
  context: Context,
  inputs: PackageInputs,
  image: PackageOutputs,
  { report }: Pick<Operation, "report">,
): Promise<void> {
  const [mismatch] = findMismatches(inputs, image);
  if (!mismatch) return;
  const { mustMatch, reason } = await digestRequirementOf(context, inputs);
  if (!mustMatch) {
    report("info", newImageText(inputs.image, mismatch.published));
    return;
  }
  const lines = [
    `${inputs.image}: its digest${mismatch.of} is not the one that the tree publishes in digests/${mismatch.file}`,
    `  published: ${mismatch.published}`,
    `  got:       ${mismatch.got} (${image.origin})`,
    `  ${await explain(await context.store(), mismatch, image)}`,
    reason,
  ];
  throw new Error(lines.join("\n"));
}

/** A digest of an image that is not the published one. */
type Mismatch = {
  readonly published: Digest;
  readonly got: Digest;
  /** The file that publishes it, below `digests/`. */
  readonly file: string;
  /** Empty for the first platform; else ` for PLATFORM` or ` of the index`. */
  readonly of: string;
};

/**
 * Tells whether an image differs from a published digest, of any platform or of its index, that it
 * must have.
 */
export async function isDigestMismatch(
  context: Context,
  inputs: PackageInputs,
  image: FoundDigests,
): Promise<boolean> {
  return findMismatches(inputs, image).length > 0 && (await digestRequirementOf(context, inputs)).mustMatch;
}

/** The known digests of an image; that of its index may be missing. */
type FoundDigests = Pick<PackageOutputs, "digest" | "digests"> & Partial<Pick<PackageOutputs, "index">>;

/**
 * Returns the digests that are not the published ones: first that of StageX's own files, then other
 * platforms', then the index's.
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

/** Reports an image whose inputs differ from those of its published digest. */
export function newImageText(image: string, published: Digest): string {
  return `${image}: new, was ${published}`;
}

async function explain(
  store: Store,
  { published, got }: Mismatch,
  { index }: PackageOutputs,
): Promise<string> {
  if (published !== index) return await findFirstDifference(store, published, got);
  return "what is published is the digest of its index, which is the same: StageX published those before 2025.06.1";
}

/** Describes the first file in which two images differ, if the store has the first image. */
export async function findFirstDifference(store: Store, published: Digest, found: Digest): Promise<string> {
  if (!(await store.find(published)))
    return `${published} is not in the store, so its files can't be compared`;
  const stored = (manifest: Digest) => ({ manifest, blobPath: (digest: Digest) => store.blobPath(digest) });
  const difference = await compareManifests(stored(published), stored(found));
  return `first difference: ${difference?.text ?? "none"}`;
}
