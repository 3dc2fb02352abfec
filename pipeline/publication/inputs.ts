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

const image = imageName.describe("The image's name, `<stage>-<package or subpackage>`.");
const reference = taggedReference.describe("What its signatures call it: `stagex/core-busybox:1.36.1`.");
const tags = z
  .array(tag)
  .min(1)
  .describe("What it is tagged with, in this order: `1.36.1`, `sx2026.03.0`, and `latest` always last.");
const manifest = digestSchema.describe("Digest of the manifest that has been signed.");
const digests = z
  .record(platform, digestSchema)
  .describe("Each platform's manifest. Needed where there are several: every one must have been signed.");
const index = digestSchema.describe(
  "Of an image for several platforms: the index over them, which the tags point at. Of one platform nothing but its manifest is published.",
);
const quorum = z
  .object({
    met: z.boolean().describe("Whether it may be published."),
    accepted: z
      .array(z.object({ manifest: digestSchema, person: z.string(), fingerprint: z.string() }))
      .default([])
      .describe("The signatures that count: another one is published too."),
  })
  .describe("What the image's Quorum found. It is judged again right before anything is sent.");
const destinations = z
  .array(registryAddress)
  .min(1)
  .describe(
    "The registries to publish to, such as `docker.io/stagex`. Credentials come from the docker config alone.",
  );
const lookaside = z
  .string()
  .min(1)
  .describe(
    "The folder, relative to the project, to which its signatures and the signed statements about it are copied; not copied where not given.",
  );
const onDelete = z
  .enum(["keep", "untag"])
  .describe(
    "What becomes of it when the resource is deleted. `keep`, the default: it stays published, as others rely on a release. `untag`: its tags are removed where they still point at it; the image stays to be had by its digest.",
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
  published: z.boolean().describe("Whether it is: false where the quorum was left for later."),
  target: digestSchema.describe("What the tags point at: the signed manifest, or the index over several."),
  tags: z
    .record(z.string(), digestSchema)
    .describe(
      "Each tag that was set, in full (`docker.io/stagex/core-busybox:latest`), and what it was set to.",
    ),
  signatures: z
    .array(z.string())
    .describe("The signatures that were copied: their folder in the lookaside and, after #, their digest."),
  drift: z
    .array(z.string())
    .describe("What a refresh found not to be as it was published, in words. The next up mends it."),
  onDelete: onDelete.describe("What becomes of it when the resource is deleted."),
});
export type PublicationOutputs = z.infer<typeof publicationOutputs>;
