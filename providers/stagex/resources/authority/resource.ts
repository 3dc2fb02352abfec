import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { AuthorityInputs } from "./inputs.ts";

export type AuthorityArgs = { [Name in keyof AuthorityInputs]: Input<AuthorityInputs[Name]> };

/** A certificate authority of one fleet's own. */
export class Authority extends CustomResource {
  declare readonly certificate: Output<string>;
  declare readonly key: Output<string>;

  constructor(name: string, args: AuthorityArgs, options?: CustomResourceOptions) {
    super("stagex:index:Authority", name, { certificate: undefined, key: undefined, ...args }, options);
  }
}
