import type { Architecture, AwsFleetConfig } from "../../config/aws-fleet.ts";

/** The machine images of a fleet, by architecture. */
export type MachineImages = { readonly [architecture in Architecture]?: string | undefined };

/**
 * The architectures as Amazon Linux 2023 names them. It has cloud-init, the AWS CLI, Python and the
 * Systems Manager agent: everything that a builder runs beside its programs.
 */
const machines: Readonly<Record<Architecture, string>> = { amd64: "x86_64", arm64: "arm64" };

/**
 * Returns the machine images that the configuration pins. There is no default: AWS publishes a new
 * one every other week, and an image's id differs by region. The software that runs as root on a
 * builder must not change because its machine is replaced.
 *
 * @throws Error if one is missing, with the command that looks it up
 */
export function pinnedMachineImages(
  { ami, region }: Pick<AwsFleetConfig, "ami" | "region">,
  architectures: readonly Architecture[],
): MachineImages {
  const missing = architectures.filter((architecture) => ami[architecture] === undefined);
  if (missing.length === 0) return ami;
  const keys = missing.map((architecture) => `stagex:aws.ami.${architecture}`).join(" and ");
  const commands = missing.map((architecture) => `  ${lookUp(region, machines[architecture])}`);
  throw new Error(
    `${keys} is not set: builders start from a machine image that you pin. For example, this prints the newest Amazon Linux 2023 of ${region}:\n` +
      `${commands.join("\n")}\n` +
      `Put it into stagex:aws, as {"ami":{"${missing[0]}":"ami-…"}}`,
  );
}

function lookUp(region: string, machine: string): string {
  const parameter = `/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${machine}`;
  return `aws ssm get-parameter --region ${region} --name ${parameter} --query Parameter.Value --output text`;
}
