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

/** Seconds until a new machine has started, fetched its programs, and answers. */
const firstBoot = 900;
/**
 * The folder of the client's credentials, relative to the project, as the output `builders` names
 * it.
 */
const credentials = ".stagex/fleet";

/** The outputs of the fleet stack, for those who build with it. */
export type FleetOutputs = {
  /** The value for `stagex:builders` of another stack. */
  readonly builders: Output<ConfiguredBuilder[]>;
  /** The command that opens the tunnel to a builder, by its name. It must run while you build. */
  readonly tunnels: Readonly<Record<string, Output<string>>>;
  /** The client's credentials, in PEM; secret. */
  readonly client: Output<{ readonly ca: string; readonly certificate: string; readonly key: string }>;
  readonly buckets: Readonly<Record<BucketKind, Output<string>>>;
  readonly orchestrators: Output<string> | undefined;
  /**
   * The command that deletes the registry's repositories, which pushes create and `pulumi destroy`
   * leaves.
   */
  readonly leftovers: string | undefined;
  /**
   * The cost of the machines and their disks, by the configured prices; undefined without prices.
   */
  readonly cost: FleetCost | undefined;
};

/**
 * The cost of a fleet itself. The preview of another stack shows the cost of a release built on it.
 */
type FleetCost = {
  /** While all builders run; undefined if a price is missing. */
  readonly perHour: number | undefined;
  /** For their disks, whether they run or not. */
  readonly perMonth: number;
  readonly currency: string;
  /** The date of the prices. */
  readonly pricesOf: string;
};

/** Deploys the fleet stack: machines on AWS, and everything that they need there. */
export async function deployFleet(): Promise<FleetOutputs> {
  const { aws: config, prices } = readStackConfig();
  if (config === undefined)
    throw new RunError(
      "stagex:aws is not set: it needs the machine images that builders start from, and all settings other than the defaults; see docs/aws.md",
    );
  const made = await deployAwsFleet(config, pathsOf());
  const [{ tls } = { tls: undefined }] = made.builders;
  if (tls === undefined) throw new Error("the fleet on AWS has no builder, or one without a certificate");
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
    leftovers: config.registry ? deleteRepositoriesCommand(config) : undefined,
    cost: prices ? await reportFleetCost(config, prices) : undefined,
  };
}

/** Returns the cost of the fleet itself. A preview also shows it as text. */
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
          `for their disks. Prices of ${pricesOf}; they exclude the network, buckets and logs.${formatUnpriced(machines, prices)}`,
      ),
    );
  return { perHour: perHour ?? undefined, perMonth, currency, pricesOf };
}

/**
 * Returns the builders as `stagex:builders` of another stack lists them, with the paths of the
 * credentials there.
 */
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

/**
 * Deploys a fleet for a stack that builds with it. The user opens the tunnels while the stack waits
 * for the builders.
 */
export async function deployAwsBuilders(config: AwsFleetConfig, paths: Paths): Promise<DeclaredBuilder[]> {
  const { builders } = await deployAwsFleet(config, paths);
  return builders.map((builder) => ({ ...builder, wait: firstBoot }));
}

/**
 * Deploys the configured fleet, in any stack.
 *
 * @throws Error before it creates anything, if the stack's passphrase is empty, or a machine image
 *   or program is missing
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

/**
 * Returns the folders with the programs for an architecture: the configured one, or the set-up's
 * own if this machine has it.
 */
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

function deleteRepositoriesCommand({ name, region }: AwsFleetConfig): string {
  const list = `aws ecr describe-repositories --region ${region} --query "repositories[?starts_with(repositoryName,'${name}/')].repositoryName" --output text`;
  return `${list} | tr '\\t' '\\n' | xargs -r -n 1 aws ecr delete-repository --region ${region} --force --repository-name`;
}
