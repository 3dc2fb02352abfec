import { z } from "zod";
import { imageName, platform, taggedReference } from "../../config/property-schemas.ts";
import { digestSchema } from "../../oci/digest.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import type { InPreview } from "../unknown-schema.ts";
import { isTag } from "./tags.ts";

const registryAddress = z.string().superRefine((text, context) => {
  try {
    parseRegistryAddress(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
  }
});
const tag = z.string().refine(isTag, {
  error: 'not a tag (expected up to 128 of A-Z a-z 0-9 _ . -, such as "1.36.1")',
});

const image = imageName.describe("Name of the image: `<stage>-<package or subpackage>`.");
const reference = taggedReference.describe("Reference in its signatures: `stagex/core-busybox:1.36.1`.");
const tags = z
  .array(tag)
  .min(1)
  .describe("Tags to set, in this order: `1.36.1`, `sx2026.03.0`; `latest` is always set last.");
const manifest = digestSchema.describe("Digest of the signed manifest.");
const digests = z
  .record(platform, digestSchema)
  .describe("Manifest of each platform, required for several platforms. All must be signed.");
const index = digestSchema.describe(
  "Index of an image for several platforms, which the tags point at. Of a single platform only the manifest is published.",
);
const quorum = z
  .object({
    met: z.boolean().describe("True if it may be published."),
    accepted: z
      .array(z.object({ manifest: digestSchema, person: z.string(), fingerprint: z.string() }))
      .default([])
      .describe("Signatures that count. A further one is published too."),
  })
  .describe("Result of the image's Quorum. Its signatures are judged again right before the push.");
const destinations = z
  .array(registryAddress)
  .min(1)
  .describe(
    "Registries to publish to, such as `docker.io/stagex`. Credentials come from the docker config only.",
  );
const lookaside = z
  .string()
  .min(1)
  .describe(
    "Folder, relative to the project, for copies of its signatures and the signed statements about it. Default: no copies.",
  );
const onDelete = z
  .enum(["keep", "untag"])
  .describe(
    "Effect of deleting the resource. `keep`, the default: it stays published, as others rely on a release. `untag`: tags that still point at it are removed; it can still be pulled by digest.",
  );

/** The inputs of a publication, all of them known. */
export const publicationInputs = z.strictObject({
  image,
  reference,
  tags,
  digest: manifest,
  digests: digests.optional(),
  index: index.optional(),
  quorum,
  destinations,
  lookaside: lookaside.optional(),
  onDelete: onDelete.optional(),
});
export type PublicationInputs = z.infer<typeof publicationInputs>;

/** The inputs in a preview, where some may be unknown. */
export type PublicationPreview = InPreview<typeof publicationInputs>;

/** The outputs of a publication. */
export const publicationOutputs = z.strictObject({
  published: z.boolean().describe("True if it is published; false if the quorum was deferred."),
  target: digestSchema.describe(
    "Digest that the tags point at: the signed manifest, or the index of several.",
  ),
  tags: z
    .record(z.string(), digestSchema)
    .describe("Tags that were set, in full (`docker.io/stagex/core-busybox:latest`), and their digests."),
  signatures: z
    .array(z.string())
    .describe("Signatures that were copied: folder in the lookaside and, after #, digest."),
  drift: z
    .array(z.string())
    .describe("Differences from what was published, as a refresh found them. The next up repairs them."),
  onDelete: onDelete.describe("Effect of deleting the resource."),
});
export type PublicationOutputs = z.infer<typeof publicationOutputs>;
