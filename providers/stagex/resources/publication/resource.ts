import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { Digest } from "../../../../oci/digest.ts";
import {
  type PublicationInputs,
  type PublicationOutputs,
  publicationOutputs,
} from "../../../../pipeline/publication/inputs.ts";

/** The inputs of a publication, of which any may be another resource's output. */
export type PublicationArgs = {
  [Name in keyof PublicationInputs]: Name extends "quorum"
    ? Input<{ met: Input<boolean>; accepted?: Input<PublicationInputs["quorum"]["accepted"]> }>
    : Input<PublicationInputs[Name]>;
};

/** An image in the registries, with its tags and signatures. */
export class Publication extends CustomResource {
  declare readonly published: Output<boolean>;
  declare readonly target: Output<Digest>;
  declare readonly tags: Output<PublicationOutputs["tags"]>;
  declare readonly signatures: Output<PublicationOutputs["signatures"]>;
  declare readonly drift: Output<PublicationOutputs["drift"]>;
  declare readonly onDelete: Output<PublicationOutputs["onDelete"]>;

  constructor(name: string, args: PublicationArgs, options?: CustomResourceOptions) {
    const outputs = Object.fromEntries(
      Object.keys(publicationOutputs.shape).map((output) => [output, undefined]),
    );
    super("stagex:index:Publication", name, { ...outputs, ...args }, options);
  }
}
