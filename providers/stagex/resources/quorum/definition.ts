import { quorumInputs, quorumOutputs } from "../../../../pipeline/quorum/inputs.ts";

/** The public side of `Quorum`. */
export const quorumDefinition = {
  token: "stagex:index:Quorum",
  description:
    "The agreement on an image: enough people have signed it, on machines of enough CPU vendors. Below quorum it is not ready, and nothing that depends on it is made.",
  inputs: quorumInputs,
  outputs: quorumOutputs,
} as const;
