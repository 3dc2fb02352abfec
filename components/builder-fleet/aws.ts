import { Budget } from "@pulumi/aws/budgets/index.js";
import { LogGroup } from "@pulumi/aws/cloudwatch/index.js";
import { Provider } from "@pulumi/aws/provider.js";
import { BucketObjectv2 } from "@pulumi/aws/s3/index.js";
import { asset, ComponentResource, type ComponentResourceOptions, type Output } from "@pulumi/pulumi";
import {
  type Architecture,
  type AwsFleetConfig,
  awsBuilders,
  awsMachines,
  type BucketKind,
} from "../../config/aws-fleet.ts";
import { type AwsFleetResources, createAwsBuilder } from "./aws-builder.ts";
import type { MachineImages } from "./aws-machine-images.ts";
import { createAwsNetwork } from "./aws-network.ts";
import type { Program } from "./aws-programs.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import { type AwsBuckets, createBuckets, createRepositoryTemplate } from "./aws-storage.ts";
import type { FleetBuilder } from "./fleet-builder.ts";
import { FleetCertificates } from "./fleet-certificates.ts";

export type AwsFleetArgs = {
  readonly config: AwsFleetConfig;
  readonly images: MachineImages;
  /** The programs of builders, for each architecture of the fleet. */
  readonly programs: Readonly<Partial<Record<Architecture, readonly Program[]>>>;
  /** The day that decides the period of the certificates. */
  readonly now: Date;
};

/** Returns the architectures of the builders that a configuration asks for. */
export function architecturesOf(config: AwsFleetConfig): Architecture[] {
  return [...new Set(awsBuilders(config).map(({ vendor }) => awsMachines[vendor].architecture))];
}

/**
 * A fleet of machines on EC2, with a network, roles, disks, buckets and a budget.
 *
 * All of EC2's arm64 machines have CPUs of one vendor: a quorum of two vendors for linux/arm64
 * needs a builder from elsewhere, in a `static` fleet.
 */
export class AwsFleet extends ComponentResource {
  readonly builders: readonly FleetBuilder[];
  /** The buckets' names. */
  readonly buckets: Readonly<Record<BucketKind, Output<string>>>;
  /** The security group whose machines may use the builders, with `reach: group`. */
  readonly orchestrators: Output<string> | undefined;

  constructor(
    name: string,
    { config, images, programs, now }: AwsFleetArgs,
    options?: ComponentResourceOptions,
  ) {
    super("stagex:index:AwsFleet", name, {}, options);
    const provider = new Provider(`${name}-aws`, { region: config.region }, { parent: this });
    const scope: AwsScope = { config, options: { parent: this, provider } };
    const buckets = createBuckets(scope);
    const network = createAwsNetwork(scope, buckets);
    if (config.registry) createRepositoryTemplate(scope);
    createBudget(scope);
    uploadPrograms(scope, buckets, Object.values(programs).flat());
    const certificates = new FleetCertificates(
      { fleet: config.name, rotateDays: config.rotateDays, now },
      { parent: this },
    );
    const { certificate, key } = certificates.issueClientCertificate();
    const shared: AwsFleetResources = {
      scope,
      network,
      buckets,
      images,
      programs,
      certificates,
      client: { ca: certificates.ca, certificate, key },
      logGroup: new LogGroup(
        `${config.name}-logs`,
        { name: `/stagex/${config.name}`, retentionInDays: config.logDays, tags: awsTags(scope, "logs") },
        scope.options,
      ),
    };
    this.builders = awsBuilders(config).map((builder) => createAwsBuilder(shared, builder));
    this.buckets = Object.fromEntries(
      Object.entries(buckets).map(([kind, bucket]) => [kind, bucket.name]),
    ) as Record<BucketKind, Output<string>>;
    this.orchestrators = network.orchestrators;
    this.registerOutputs({});
  }
}

/** Uploads programs under their hash, so a machine can ask only for exactly these bytes. */
function uploadPrograms(scope: AwsScope, { programs: bucket }: AwsBuckets, programs: Program[]): void {
  const { config, options } = scope;
  const distinct = new Map(programs.map((program) => [program.sha256, program]));
  for (const { name, path, sha256 } of distinct.values()) {
    new BucketObjectv2(
      `${config.name}-${name}-${sha256.slice(0, 12)}`,
      {
        bucket: bucket.name,
        key: `programs/${sha256}`,
        source: new asset.FileAsset(path),
        sourceHash: sha256,
        forceDestroy: true,
        tags: awsTags(scope, name),
      },
      options,
    );
  }
}

/**
 * Creates a budget for the whole account: costs by tag are known only a day after they are
 * activated in its billing.
 */
function createBudget(scope: AwsScope): void {
  const { config, options } = scope;
  const { dollars, email } = config.budget;
  const alarm = (threshold: number, notificationType: "ACTUAL" | "FORECASTED", address: string) => ({
    comparisonOperator: "GREATER_THAN",
    threshold,
    thresholdType: "PERCENTAGE",
    notificationType,
    subscriberEmailAddresses: [address],
  });
  new Budget(
    `${config.name}-budget`,
    {
      budgetType: "COST",
      timeUnit: "MONTHLY",
      limitAmount: String(dollars),
      limitUnit: "USD",
      notifications: email
        ? [alarm(50, "ACTUAL", email), alarm(100, "ACTUAL", email), alarm(100, "FORECASTED", email)]
        : [],
      tags: awsTags(scope, "budget"),
    },
    options,
  );
}
