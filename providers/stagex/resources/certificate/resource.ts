import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { CertificateInputs } from "./inputs.ts";

export type CertificateArgs = { [Name in keyof CertificateInputs]: Input<CertificateInputs[Name]> };

/** A key, and its certificate by an `Authority`. */
export class Certificate extends CustomResource {
  declare readonly certificate: Output<string>;
  declare readonly key: Output<string>;

  constructor(name: string, args: CertificateArgs, options?: CustomResourceOptions) {
    super("stagex:index:Certificate", name, { certificate: undefined, key: undefined, ...args }, options);
  }
}
