import type { CustomResourceOptions } from "@pulumi/pulumi";
import type { AwsFleetConfig } from "../../config/aws-fleet.ts";

/** What every resource of a fleet on AWS is made with. */
export type AwsScope = {
  readonly config: AwsFleetConfig;
  /** Parent and provider. */
  readonly options: CustomResourceOptions;
};

/** The tags of a resource: whose it is, and what. */
export function awsTags({ config }: AwsScope, name: string): Record<string, string> {
  return { ...config.tags, Name: `${config.name}-${name}`, "stagex:fleet": config.name };
}
