import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import { type AttestationInputs, type AttestationOutputs, attestationOutputs } from "./inputs.ts";

/** The inputs of an attestation, of which any may be an image's output. */
export type AttestationArgs = { [Name in keyof AttestationInputs]: Input<AttestationInputs[Name]> };

/** A maintainer's word that an image was built here. */
export class Attestation extends CustomResource {
  declare readonly signatures: Output<AttestationOutputs["signatures"]>;

  constructor(name: string, args: AttestationArgs, options?: CustomResourceOptions) {
    const outputs = Object.fromEntries(
      Object.keys(attestationOutputs.shape).map((output) => [output, undefined]),
    );
    super("stagex:index:Attestation", name, { ...outputs, ...args }, options);
  }
}
