import type { CustomResourceOptions } from "@pulumi/pulumi";
import type { AwsFleetConfig } from "../../config/aws-fleet.ts";

/** The arguments common to all resources of a fleet on AWS. */
export type AwsScope = {
  readonly config: AwsFleetConfig;
  /** The parent and the provider. */
  readonly options: CustomResourceOptions;
};

/** Returns the tags of a resource: its name, and its fleet. */
export function awsTags({ config }: AwsScope, name: string): Record<string, string> {
  return { ...config.tags, Name: `${config.name}-${name}`, "stagex:fleet": config.name };
}
