import { builderInputs, builderOutputs } from "../../../../config/builder-inputs.ts";

/** The public side of `Builder`. */
export const builderDefinition = {
  token: "stagex:index:Builder",
  description:
    "A BuildKit daemon to build images with. Its outputs are what the daemon and its machine report.",
  inputs: builderInputs,
  outputs: builderOutputs,
} as const;
