import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { Digest } from "../../../../oci/digest.ts";
import {
  type PackageInputs,
  type PackageOutputs,
  packageOutputs,
} from "../../../../pipeline/package/inputs.ts";

/** The inputs of a package, of which any may be another resource's output. */
export type PackageArgs = {
  [Name in keyof PackageInputs]: Name extends "dependencies"
    ? Input<Record<string, Input<Digest>>>
    : Input<PackageInputs[Name]>;
};

const outputNames = Object.keys(packageOutputs.shape);

/** An image of the tree, built (or found built) from exactly its inputs. */
export class Package extends CustomResource {
  declare readonly digest: Output<Digest>;
  declare readonly digests: Output<PackageOutputs["digests"]>;
  declare readonly index: Output<Digest>;
  declare readonly reference: Output<Digest>;
  declare readonly inputKey: Output<string>;
  declare readonly origin: Output<PackageOutputs["origin"]>;

  constructor(name: string, args: PackageArgs, options?: CustomResourceOptions) {
    const properties: Record<string, unknown> = Object.fromEntries(
      outputNames.map((name) => [name, undefined]),
    );
    super("stagex:index:Package", name, properties, options);
    // Of each property the SDK makes an output with four promises, to be read from the resource. Nobody reads a package's inputs there:
    // they join the properties once that is done, before any is sent, which takes a third off a large tree's program.
    Object.assign(properties, args);
  }
}
