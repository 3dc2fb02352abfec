import { z } from "zod";
import { digestSchema } from "../../../../oci/digest.ts";

const folder = z
  .string()
  .min(1)
  .describe("Where the files go, and stay: a folder, relative to the project. It is this resource's alone.");
const repository = z
  .string()
  .min(1)
  .describe("What it is for, in full: `docker.io/stagex`, `registry.example/stagex/core-musl`.");
const signedAs = z
  .string()
  .min(1)
  .describe("How the signatures call it, in full, where that is another name: `docker.io/stagex`.");
const lookaside = z
  .string()
  .min(1)
  .describe("Where the signatures are: `https://…`, `file:///…` or a folder, relative to the project.");
const threshold = z.int().min(1).describe("How many people must have signed.");
const roster = digestSchema.describe(
  "Digest over roster and keys, so that a key that is added, taken out or revoked is a change.",
);

/** What the program asks for, all of it known. */
export const clientPolicyInputs = z.strictObject({
  folder,
  repository,
  signedAs: signedAs.optional(),
  lookaside: lookaside.optional(),
  threshold,
  roster,
});
export type ClientPolicyInputs = z.infer<typeof clientPolicyInputs>;

/** One of the files that a policy is made of: nothing else of the folder is ever touched. */
const file = z.string().regex(/^(policy\.json|keys\/[A-Za-z0-9_-]{1,64}\.gpg|registries\.d\/stagex\.yaml)$/);

/** What was written. */
export const clientPolicyOutputs = z.strictObject({
  files: z.array(file).describe("The files, relative to the folder."),
  people: z.array(z.string()).describe("The people whose keys are in it, by id."),
  without: z.array(z.string()).describe("Those of the roster without a key: their signatures don't count."),
  requirements: z.int().describe("How many a client has to meet."),
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
