import { z } from "zod";
import { imageName } from "../../../../config/property-schemas.ts";
import { inputKeySchema } from "../../../../distro/input-key.ts";
import { digestSchema } from "../../../../oci/digest.ts";
import { parseTaggedReference } from "../../../../trust/signatures/image-reference.ts";

const image = imageName.describe("The image's name, such as `core-busybox`.");
const reference = z
  .string()
  .superRefine((text, context) => {
    try {
      parseTaggedReference(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
    }
  })
  .describe("What the signature calls it: `stagex/core-busybox:1.36.1`.");
const digests = z
  .record(z.string().min(1), digestSchema)
  .describe("The manifest of each platform, every one of which gets a signature of its own.");
const inputKey = inputKeySchema.describe("What it was built from.");
const person = z.string().min(1).describe("Who says so, by their id in MAINTAINERS.");

/** What is attested, all of it known. */
export const attestationInputs = z.strictObject({ image, reference, digests, inputKey, person });
export type AttestationInputs = z.infer<typeof attestationInputs>;

/** The signatures that say so, made now or found. */
export const attestationOutputs = z.strictObject({
  signatures: z
    .record(
      z.string(),
      z.strictObject({
        file: z.string().describe("Its name in the lookaside, `signature-1`."),
        fingerprint: z.string().describe("Of the primary key that it is by."),
        sha256: digestSchema.describe("Digest of its bytes."),
        cpuVendor: z
          .string()
          .describe("The CPU vendor that it counts for; empty where it counts for the person alone."),
      }),
    )
    .describe("The person's signature of each manifest, by the manifest's digest."),
});
export type AttestationOutputs = z.infer<typeof attestationOutputs>;

/** The public side of `Attestation`. */
export const attestationDefinition = {
  token: "stagex:index:Attestation",
  description:
    "A maintainer's signed statement that this machine built an image, with these manifests. Signatures are added to the lookaside, and never removed.",
  inputs: attestationInputs,
  outputs: attestationOutputs,
} as const;
