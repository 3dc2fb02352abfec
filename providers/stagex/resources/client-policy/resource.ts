import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import { type ClientPolicyInputs, clientPolicyOutputs } from "./inputs.ts";

/** The inputs of a client's policy, of which any may be another resource's output. */
export type ClientPolicyArgs = { [Name in keyof ClientPolicyInputs]: Input<ClientPolicyInputs[Name]> };

/** What lets stock clients ask for enough maintainers. */
export class ClientPolicy extends CustomResource {
  declare readonly files: Output<string[]>;
  declare readonly people: Output<string[]>;
  declare readonly without: Output<string[]>;
  declare readonly requirements: Output<number>;

  constructor(name: string, args: ClientPolicyArgs, options?: CustomResourceOptions) {
    const outputs = Object.fromEntries(
      Object.keys(clientPolicyOutputs.shape).map((output) => [output, undefined]),
    );
    super("stagex:index:ClientPolicy", name, { ...outputs, ...args }, options);
  }
}
