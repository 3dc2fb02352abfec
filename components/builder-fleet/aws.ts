import { Budget } from "@pulumi/aws/budgets/index.js";
import { LogGroup } from "@pulumi/aws/cloudwatch/index.js";
import { Provider } from "@pulumi/aws/provider.js";
import { BucketObjectv2 } from "@pulumi/aws/s3/index.js";
import { asset, ComponentResource, type ComponentResourceOptions, type Output } from "@pulumi/pulumi";
import { type AwsFleetConfig, awsVendors, type BucketKind } from "../../config/aws-fleet.ts";
import { type AwsFleetResources, createAwsBuilder, makes } from "./aws-builder.ts";
import type { MachineImages } from "./aws-machine-images.ts";
import { createAwsNetwork } from "./aws-network.ts";
import type { Architecture, Program } from "./aws-programs.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import { type AwsBuckets, createBuckets, createRepositoryTemplate } from "./aws-storage.ts";
import type { Fleet, FleetBuilder } from "./fleet-builder.ts";
import { FleetCertificates } from "./fleet-certificates.ts";

export type AwsFleetArgs = {
  readonly config: AwsFleetConfig;
  readonly images: MachineImages;
  /** What builders run, for each architecture that there are builders of. */
  readonly programs: Readonly<Partial<Record<Architecture, readonly Program[]>>>;
  /** The day, for the period of the certificates. */
  readonly now: Date;
};

/** The architectures of the builders that a configuration asks for. */
export function architecturesOf(config: AwsFleetConfig): Architecture[] {
  const used = awsVendors.filter((vendor) => config.builders[vendor] > 0);
  return [...new Set(used.map((vendor) => makes[vendor].architecture))];
}

/**
 * Machines on EC2, with a network, a role each, disks, buckets and a budget of their own.
 *
 * All of EC2's arm64 machines have CPUs of one vendor: a quorum of two vendors for linux/arm64 needs a builder from elsewhere, in a
 * `static` fleet.
 */
export class AwsFleet extends ComponentResource implements Fleet {
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
    awsBudget(scope);
    uploadPrograms(scope, buckets, Object.values(programs).flat());
    const certificates = new FleetCertificates(
      { fleet: config.name, rotateDays: config.rotateDays, now },
      { parent: this },
    );
    const { certificate, key } = certificates.issueClientCertificate();
    const ground: AwsFleetResources = {
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
    this.builders = awsVendors.flatMap((vendor) =>
      Array.from({ length: config.builders[vendor] }, (_, index) =>
        createAwsBuilder(ground, vendor, index + 1),
      ),
    );
    this.buckets = Object.fromEntries(
      Object.entries(buckets).map(([kind, bucket]) => [kind, bucket.name]),
    ) as Record<BucketKind, Output<string>>;
    this.orchestrators = network.orchestrators;
    this.registerOutputs({});
  }
}

/** Programs lie in S3 under their hash, so a machine can only ever ask for exactly those bytes. */
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

/** For the whole account: costs by tag are known only where somebody switched that on in its billing, a day before. */
function awsBudget(scope: AwsScope): void {
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
