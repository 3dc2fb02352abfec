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
  .describe("The image's name in the signature: `stagex/core-busybox:1.36.1`.");
const digests = z
  .record(z.string().min(1), digestSchema)
  .describe("The manifest of each platform. Each manifest gets its own signature.");
const inputKey = inputKeySchema.describe("The input key of the build.");
const person = z.string().min(1).describe("The maintainer who signs: a person's id in MAINTAINERS.");

/** The inputs of an attestation, all known. */
export const attestationInputs = z.strictObject({ image, reference, digests, inputKey, person });
export type AttestationInputs = z.infer<typeof attestationInputs>;

/** The signatures of an attestation, made now or found. */
export const attestationOutputs = z.strictObject({
  signatures: z
    .record(
      z.string(),
      z.strictObject({
        file: z.string().describe("The file's name in the lookaside, `signature-1`."),
        fingerprint: z.string().describe("The fingerprint of the primary key."),
        sha256: digestSchema.describe("The digest of the file."),
        cpuVendor: z
          .string()
          .describe("The CPU vendor that it counts for; empty if it counts only for the person."),
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
