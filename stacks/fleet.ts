import { dirname, join, relative, resolve } from "node:path";
import { all, getStack, type Output, RunError, secret } from "@pulumi/pulumi";
import { isDryRun } from "@pulumi/pulumi/runtime/index.js";
import { AwsFleet, architecturesOf } from "../components/builder-fleet/aws.ts";
import { pinnedMachineImages } from "../components/builder-fleet/aws-machine-images.ts";
import { type Program, stagePrograms } from "../components/builder-fleet/aws-programs.ts";
import type { DeclaredBuilder } from "../components/builder-fleet/builders.ts";
import type { FleetBuilder, SsmTunnel } from "../components/builder-fleet/fleet-builder.ts";
import type { Architecture, AwsFleetConfig, BucketKind } from "../config/aws-fleet.ts";
import type { ConfiguredBuilder } from "../config/builders.ts";
import { pricedAwsMachines } from "../config/fleet-plan.ts";
import { formatMachines, formatUnpriced, machineRates, type Prices } from "../distro/plan/cost.ts";
import { type Paths, pathsOf } from "../lib/paths.ts";
import { printableLine } from "../lib/text/printable.ts";
import { findTool } from "../tools/tool-resolver.ts";
import { logToEngine } from "./engine-log.ts";
import { refuseEmptyPassphrase } from "./passphrase.ts";
import { readStackConfig } from "./stack-config.ts";

/** Seconds until a new machine has started, fetched what it runs, and answers. */
const firstBoot = 900;
/** Where the client's certificate is looked for by who builds with the output `builders`; relative to the project. */
const credentials = ".stagex/fleet";

/** What the stack tells whoever uses its builders. */
export type FleetOutputs = {
  /** What `stagex:builders` of another stack takes. */
  readonly builders: Output<ConfiguredBuilder[]>;
  /** The command that opens the way to a builder, by its name; leave it running while building. */
  readonly tunnels: Readonly<Record<string, Output<string>>>;
  /** What builders expect of a client, PEM; secret. */
  readonly client: Output<{ readonly ca: string; readonly certificate: string; readonly key: string }>;
  readonly buckets: Readonly<Record<BucketKind, Output<string>>>;
  readonly orchestrators: Output<string> | undefined;
  /** Ends what `pulumi destroy` can't, as pushes made it: the registry's repositories. */
  readonly leftovers: string | undefined;
  /** What the machines and their disks cost, by the configured prices; undefined without them. */
  readonly cost: FleetCost | undefined;
};

/** What a fleet costs by itself; what a release built on it does is in that stack's preview. */
type FleetCost = {
  /** While all builders run; undefined where a price is missing. */
  readonly perHour: number | undefined;
  /** Of their disks, whether they run or not. */
  readonly perMonth: number;
  readonly currency: string;
  /** The day of the prices. */
  readonly pricesOf: string;
};

/** Machines on AWS to build on, and all that they need there. */
export async function deployFleet(): Promise<FleetOutputs> {
  const { aws: config, prices } = readStackConfig();
  if (config === undefined)
    throw new RunError(
      "stagex:aws is not set: the machine images that builders start from, and whatever is to differ from its default; docs/aws.md",
    );
  const made = await deployAwsFleet(config, pathsOf());
  const [{ tls } = { tls: undefined }] = made.builders;
  if (tls === undefined)
    throw new Error("a fleet on AWS without a builder, or with one that needs no certificate");
  return {
    builders: toConfiguredBuilders(made.builders),
    tunnels: Object.fromEntries(
      made.builders.flatMap(({ name, tunnel }) => (tunnel ? [[name, tunnelCommand(tunnel)]] : [])),
    ),
    client: secret(
      all([tls.ca, tls.certificate, tls.key]).apply(([ca, certificate, key]) => ({ ca, certificate, key })),
    ),
    buckets: made.buckets,
    orchestrators: made.orchestrators,
    leftovers: config.registry ? endRepositories(config) : undefined,
    cost: prices ? await reportFleetCost(config, prices) : undefined,
  };
}

/** What the fleet costs while nothing is said of what it builds; a preview says it in words, too. */
export async function reportFleetCost(config: AwsFleetConfig, prices: Prices): Promise<FleetCost> {
  const machines = pricedAwsMachines(config);
  const { perHour, perMonth } = machineRates(machines, prices);
  const { currency, date: pricesOf } = prices;
  const running = perHour === null ? "?" : perHour.toFixed(2);
  if (isDryRun())
    await logToEngine(
      "info",
      printableLine(
        `${formatMachines(machines)}: ${running} ${currency} an hour while they run, and ${perMonth.toFixed(2)} ${currency} a month ` +
          `for their disks. Prices of ${pricesOf}; the network, buckets and logs are not in them.${formatUnpriced(machines, prices)}`,
      ),
    );
  return { perHour: perHour ?? undefined, perMonth, currency, pricesOf };
}

/** The builders as another stack's configuration lists them, and where that one is to have the files with the credentials. */
export function toConfiguredBuilders(builders: readonly FleetBuilder[]): Output<ConfiguredBuilder[]> {
  const files = {
    ca: `${credentials}/ca.pem`,
    cert: `${credentials}/certificate.pem`,
    key: `${credentials}/key.pem`,
  };
  return all(builders.map(({ address }) => address)).apply((addresses) =>
    builders.map(({ name, platforms, slots, memory, vendor, machine, tls }, index) => ({
      ...{ name, address: addresses[index] ?? "", platforms: [...platforms], slots, vendor, machine },
      memory: memory / 2 ** 30,
      wait: firstBoot,
      ...(tls ? { tls: { ...files, serverName: tls.serverName } } : {}),
    })),
  );
}

/** A fleet of the stack's own, for one that builds with it. Tunnels are the user's to open while the builders are waited for. */
export async function deployAwsBuilders(config: AwsFleetConfig, paths: Paths): Promise<DeclaredBuilder[]> {
  const { builders } = await deployAwsFleet(config, paths);
  return builders.map((builder) => ({ ...builder, wait: firstBoot }));
}

/**
 * The fleet that a configuration asks for; for any stack.
 *
 * @throws before anything is made, where the stack's passphrase is empty or a machine image or program is missing
 */
export async function deployAwsFleet(config: AwsFleetConfig, paths: Paths): Promise<AwsFleet> {
  await refuseEmptyPassphrase({ project: paths.project, stack: getStack() });
  const architectures = architecturesOf(config);
  const images = pinnedMachineImages(config, architectures);
  const programs: Partial<Record<Architecture, readonly Program[]>> = {};
  for (const architecture of architectures) {
    const folders = await programFolders(config, architecture, paths);
    const staging = relative(paths.project, join(paths.state, "programs"));
    programs[architecture] = await stagePrograms({ folders, staging }, architecture);
  }
  return new AwsFleet("fleet", { config, images, programs, now: new Date() });
}

/** Where the programs for an architecture are: the configured folder, or the set-up's own where this machine is of that kind. */
async function programFolders(
  config: AwsFleetConfig,
  architecture: Architecture,
  paths: Paths,
): Promise<string[]> {
  const configured = config.programs[architecture];
  if (configured !== undefined) return [resolve(paths.project, configured)];
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
