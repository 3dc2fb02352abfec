import { dirname, join, relative, resolve } from "node:path";
import { all, type Output, RunError, secret } from "@pulumi/pulumi";
import { AwsFleet, architecturesOf } from "../components/builder-fleet/aws.ts";
import { type Architecture, type Program, programsIn } from "../components/builder-fleet/aws-programs.ts";
import type { FleetBuilder, SsmTunnel } from "../components/builder-fleet/fleet.ts";
import type { AwsFleetConfig, BucketKind } from "../providers/stagex/aws-fleet-config.ts";
import { type Places, placesOf } from "../tools/places.ts";
import { findTool } from "../tools/toolbox.ts";
import { stackConfig } from "./stack-config.ts";

/** What the stack tells whoever uses its builders. */
export type FleetOutputs = {
  readonly builders: readonly (Pick<FleetBuilder, "address" | "platforms" | "slots" | "vendor"> & {
    readonly name: string;
    /** What the builder's certificate says it is. */
    readonly serverName: string | undefined;
  })[];
  /** The command that opens the way to a builder, by its name; leave it running while building. */
  readonly tunnels: Readonly<Record<string, Output<string>>>;
  /** What builders expect of a client, PEM; secret. */
  readonly client: Output<{ readonly ca: string; readonly certificate: string; readonly key: string }>;
  readonly buckets: Readonly<Record<BucketKind, Output<string>>>;
  readonly orchestrators: Output<string> | undefined;
  /** Ends what `pulumi destroy` can't, as pushes made it: the registry's repositories. */
  readonly leftovers: string | undefined;
};

/** Machines on AWS to build on, and all that they need there. */
export async function fleet(): Promise<FleetOutputs> {
  const { aws: config } = stackConfig();
  if (config === undefined)
    throw new RunError(
      "stagex:aws is not set; for a fleet with all defaults: pulumi config set stagex:aws '{}'",
    );
  const made = await awsFleet(config, placesOf());
  const [{ tls } = { tls: undefined }] = made.builders;
  if (tls === undefined)
    throw new Error("a fleet on AWS without a builder, or with one that needs no certificate");
  return {
    builders: made.builders.map(({ name, address, platforms, slots, vendor, tls: own }) => ({
      name,
      address,
      platforms,
      slots,
      vendor,
      serverName: own?.serverName,
    })),
    tunnels: Object.fromEntries(
      made.builders.flatMap(({ name, tunnel }) => (tunnel ? [[name, tunnelCommand(tunnel)]] : [])),
    ),
    client: secret(
      all([tls.ca, tls.certificate, tls.key]).apply(([ca, certificate, key]) => ({ ca, certificate, key })),
    ),
    buckets: made.buckets,
    orchestrators: made.orchestrators,
    leftovers: config.registry ? endRepositories(config) : undefined,
  };
}

/** The fleet that a configuration asks for; for any stack. */
export async function awsFleet(config: AwsFleetConfig, places: Places): Promise<AwsFleet> {
  const programs: Partial<Record<Architecture, readonly Program[]>> = {};
  for (const architecture of architecturesOf(config)) {
    const folders = await programFolders(config, architecture, places);
    const staging = relative(places.project, join(places.state, "programs"));
    programs[architecture] = await programsIn({ folders, staging }, architecture);
  }
  return new AwsFleet("fleet", { config, programs, now: new Date() });
}

/** Where the programs for an architecture are: the configured folder, or the set-up's own where this machine is of that kind. */
async function programFolders(
  config: AwsFleetConfig,
  architecture: Architecture,
  places: Places,
): Promise<string[]> {
  const configured = config.programs[architecture];
  if (configured !== undefined) return [resolve(places.project, configured)];
  const here = process.arch === "x64" ? "amd64" : process.arch;
  if (process.platform !== "linux" || here !== architecture) return [];
  const tools = await Promise.all([findTool("buildkitd"), findTool("runc")]);
  return tools.flatMap((tool) => (tool ? [dirname(tool.path)] : []));
}

function tunnelCommand({ instance, region, remotePort, localPort }: SsmTunnel): Output<string> {
  return instance.apply(
    (target) =>
      `aws ssm start-session --region ${region} --target ${target} --document-name AWS-StartPortForwardingSession ` +
      `--parameters portNumber=${remotePort},localPortNumber=${localPort}`,
  );
}

function endRepositories({ name, region }: AwsFleetConfig): string {
  const list = `aws ecr describe-repositories --region ${region} --query "repositories[?starts_with(repositoryName,'${name}/')].repositoryName" --output text`;
  return `${list} | tr '\\t' '\\n' | xargs -r -n 1 aws ecr delete-repository --region ${region} --force --repository-name`;
}
