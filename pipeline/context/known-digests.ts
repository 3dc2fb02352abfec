import { z } from "zod";
import { platform } from "../../config/property-schemas.ts";
import { digestSchema } from "../../oci/digest.ts";

/** The digests of an image, as a package's outputs have them. */
export const imageDigests = {
  digest: digestSchema.describe(
    "Digest of the first platform's manifest, which StageX publishes in `digests/*.txt` and signs.",
  ),
  digests: z.record(platform, digestSchema).describe("Digest of each platform's manifest."),
  index: digestSchema.describe(
    "Digest of the image index over all platforms, by which the store finds the image.",
  ),
  reference: digestSchema.describe(
    "Digest that dependents are built from: `digest`, or `index` for several platforms.",
  ),
} as const;

const knownDigests = z.strictObject({ ...imageDigests, index: imageDigests.index.exactOptional() });

/**
 * The digests that inputs are known to give. A published release has those of manifests only, not
 * of the index.
 */
export type KnownDigests = z.infer<typeof knownDigests>;

/** The digests that a ledger has of an input key, and whether the store has that image. */
export const predictedImageSchema = z.strictObject({ digests: knownDigests, isStored: z.boolean() });
export type PredictedImage = z.infer<typeof predictedImageSchema>;
