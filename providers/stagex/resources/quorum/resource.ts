import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { Digest } from "../../../../oci/digest.ts";
import { type QuorumInputs, type QuorumOutputs, quorumOutputs } from "../../../../pipeline/quorum/inputs.ts";

/** The inputs of a quorum, of which any may be another resource's output. */
export type QuorumArgs = { [Name in keyof QuorumInputs]: Input<QuorumInputs[Name]> };

/** That enough maintainers have signed an image. */
export class Quorum extends CustomResource {
  declare readonly met: Output<boolean>;
  declare readonly people: Output<number>;
  declare readonly vendors: Output<number>;
  declare readonly accepted: Output<QuorumOutputs["accepted"]>;
  declare readonly rejected: Output<QuorumOutputs["rejected"]>;
  declare readonly words: Output<string>;
  /** The digest, once it is verified. */
  declare readonly verified: Output<Digest | undefined>;

  constructor(name: string, args: QuorumArgs, options?: CustomResourceOptions) {
    const outputs = Object.fromEntries(Object.keys(quorumOutputs.shape).map((output) => [output, undefined]));
    super("stagex:index:Quorum", name, { ...outputs, ...args }, options);
  }
}
