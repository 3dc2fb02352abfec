import { CustomResource, type CustomResourceOptions, type Input, type Output, secret } from "@pulumi/pulumi";
import {
  type BuilderInputs,
  type BuilderOutputs,
  builderOutputs,
} from "../../../../config/builder-inputs.ts";

/** The inputs of a builder, of which any may be another resource's output. */
export type BuilderArgs = { [Name in keyof BuilderInputs]: Input<BuilderInputs[Name]> };

/** A BuildKit daemon to build images with. Its credentials are kept encrypted in the state. */
export class Builder extends CustomResource {
  declare readonly platforms: Output<BuilderOutputs["platforms"]>;
  declare readonly buildkit: Output<string>;
  declare readonly arch: Output<string>;
  declare readonly vendor: Output<string>;
  declare readonly vendorSource: Output<BuilderOutputs["vendorSource"]>;
  declare readonly kernel: Output<string>;

  constructor(name: string, args: BuilderArgs, options?: CustomResourceOptions) {
    const outputs = Object.fromEntries(
      Object.keys(builderOutputs.shape).map((output) => [output, undefined]),
    );
    const { tls, ...others } = args;
    super(
      "stagex:index:Builder",
      name,
      { ...outputs, ...others, ...(tls === undefined ? {} : { tls: secret(tls) }) },
      options,
    );
  }
}
