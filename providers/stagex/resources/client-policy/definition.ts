import { z } from "zod";
import { digestSchema } from "../../../../oci/digest.ts";

const folder = z
  .string()
  .min(1)
  .describe("The folder of the files, relative to the project. It must hold nothing else.");
const repository = z
  .string()
  .min(1)
  .describe(
    "The repositories that it is for, in full: `docker.io/stagex`, `registry.example/stagex/core-musl`.",
  );
const signedAs = z
  .string()
  .min(1)
  .describe("Their name in signatures, in full, if it is another one: `docker.io/stagex`.");
const lookaside = z
  .string()
  .min(1)
  .describe("The lookaside: `https://…`, `file:///…` or a folder, relative to the project.");
const threshold = z.int().min(1).describe("The number of people who must have signed.");
const roster = digestSchema.describe(
  "The digest of roster and keys: an added, removed or revoked key is a change.",
);

/** The inputs of a client policy, all known. */
export const clientPolicyInputs = z.strictObject({
  folder,
  repository,
  signedAs: signedAs.optional(),
  lookaside: lookaside.optional(),
  threshold,
  roster,
});
export type ClientPolicyInputs = z.infer<typeof clientPolicyInputs>;

/** One of a policy's files. No other file in the folder is ever changed. */
const file = z.string().regex(/^(policy\.json|keys\/[A-Za-z0-9_-]{1,64}\.gpg|registries\.d\/stagex\.yaml)$/);

/** The outputs of a client policy: the files that were written. */
export const clientPolicyOutputs = z.strictObject({
  files: z.array(file).describe("The files, relative to the folder."),
  people: z.array(z.string()).describe("The people whose keys are in it, by id."),
  without: z
    .array(z.string())
    .describe("The people in the roster without a key: their signatures do not count."),
  requirements: z.int().describe("The number of requirements that a client has to meet."),
});
export type ClientPolicyOutputs = z.infer<typeof clientPolicyOutputs>;

/** The public side of `ClientPolicy`. */
export const clientPolicyDefinition = {
  token: "stagex:index:ClientPolicy",
  description:
    "The files with which podman, skopeo, buildah and CRI-O pull only images that enough maintainers have signed: policy.json, keyrings and registries.d.",
  inputs: clientPolicyInputs,
  outputs: clientPolicyOutputs,
} as const;
