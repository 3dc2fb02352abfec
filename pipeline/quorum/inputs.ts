import { z } from "zod";
import { imageName, platform, taggedReference } from "../../config/property-schemas.ts";
import { digestSchema } from "../../oci/digest.ts";
import type { InPreview } from "../unknown-schema.ts";

const image = imageName.describe("The image's name, `<stage>-<package or subpackage>`.");
const reference = taggedReference.describe(
  "What the signatures call it: `stagex/core-busybox:1.36.1`, without a registry's host where they have none.",
);
const manifest = digestSchema.describe("Digest of the manifest that must be signed.");
const digests = z
  .record(platform, digestSchema)
  .describe("Of an image for several platforms: each one's manifest. Every one must be signed.");
const signatures = digestSchema.describe(
  "Digest over what the lookaside holds for it, so that a new signature is a change.",
);
const roster = digestSchema.describe(
  "Digest over roster and keys, so that a key that is added, taken out or revoked is one.",
);
const threshold = z.int().min(1).describe("How many people must have signed.");
const vendors = z
  .int()
  .min(0)
  .describe("On how many CPU vendors' machines they must have built it, each of them another person's.");
const onPending = z
  .enum(["fail", "wait", "defer"])
  .describe("Below quorum: fail, wait for signatures, or go on with `met` false.");
const wait = z
  .number()
  .min(0)
  .describe("How many seconds a run waits for signatures, all images together; for `wait` alone.");

/** The inputs of a quorum, all of them known. */
export const quorumInputs = z.strictObject({
  image,
  reference,
  digest: manifest,
  digests: digests.optional(),
  signatures: signatures.optional(),
  roster,
  threshold,
  vendors,
  onPending,
  wait: wait.optional(),
});
export type QuorumInputs = z.infer<typeof quorumInputs>;

/** The inputs in a preview, where some may be unknown. */
export type QuorumPreview = InPreview<typeof quorumInputs>;

const accepted = z.strictObject({
  manifest: digestSchema.describe("Which manifest it is of."),
  file: z.string().describe("`signature-1`, in the lookaside."),
  person: z.string().describe("Their id in MAINTAINERS."),
  fingerprint: z.string().describe("Of the primary key."),
  cpuVendor: z.string().optional().describe("The machine's; not there where it is not known."),
});
const rejected = z.strictObject({
  manifest: digestSchema,
  file: z.string(),
  code: z.string().describe("Why, for programs: as `stagex verify --json` has it."),
  reason: z.string().describe("Why, for people."),
});

/** The outputs of a quorum. */
export const quorumOutputs = z.strictObject({
  met: z.boolean().describe("Whether enough people on enough CPU vendors have signed every manifest."),
  people: z.int().describe("How many have; of several manifests the fewest."),
  vendors: z
    .int()
    .describe("On how many CPU vendors, each by another person; of several manifests the fewest."),
  accepted: z.array(accepted).describe("The signatures that count."),
  rejected: z.array(rejected).describe("Those that don't; the first ten of each manifest."),
  words: z.string().describe("All of it in one line, and what is missing."),
  verified: digestSchema.optional().describe("The digest; not there below quorum."),
});
export type QuorumOutputs = z.infer<typeof quorumOutputs>;
