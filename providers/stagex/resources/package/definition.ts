import { packageInputs, packageOutputs } from "../../../../pipeline/package/inputs.ts";

/** The public side of `Package`. */
export const packageDefinition = {
  token: "stagex:index:Package",
  description:
    "An image of a StageX tree. Its inputs are its sources and its dependencies' digests; its output is its own digest.",
  inputs: packageInputs,
  outputs: packageOutputs,
} as const;
