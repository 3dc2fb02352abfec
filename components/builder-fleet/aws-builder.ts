import { type LogGroup, LogStream } from "@pulumi/aws/cloudwatch/index.js";
import { Volume } from "@pulumi/aws/ebs/index.js";
import { Instance, LaunchTemplate, VolumeAttachment } from "@pulumi/aws/ec2/index.js";
import { InstanceState } from "@pulumi/aws/ec2transitgateway/index.js";
import { Parameter } from "@pulumi/aws/ssm/index.js";
import { type Input, interpolate, type Output, output } from "@pulumi/pulumi";
import {
  type Architecture,
  type AwsBuilder,
  awsMachines,
  awsVendors,
  builderSizes,
  instanceType,
} from "../../config/aws-fleet.ts";
import type { MachineImages } from "./aws-machine-images.ts";
import { type AwsNetwork, buildPort } from "./aws-network.ts";
import type { Program } from "./aws-programs.ts";
import { createBuilderRole } from "./aws-role.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import type { AwsBuckets } from "./aws-storage.ts";
import { logStreamNames, userData } from "./aws-user-data.ts";
import type { ClientTls, FleetBuilder } from "./fleet-builder.ts";
import type { FleetCertificates } from "./fleet-certificates.ts";

/** The resources that all builders of a fleet share. */
export type AwsFleetResources = {
  readonly scope: AwsScope;
  readonly network: AwsNetwork;
  readonly buckets: AwsBuckets;
  readonly logGroup: LogGroup;
  readonly certificates: FleetCertificates;
  readonly images: MachineImages;
  readonly client: Omit<ClientTls, "serverName">;
  readonly programs: Readonly<Partial<Record<Architecture, readonly Program[]>>>;
};

const rootGib = 16;
/** The part of a builder's memory for its system. */
const systemGib = 2;
/**
 * Tunnel ports reserved for each vendor, so that a further builder does not change the others'
 * ports.
 */
const portsEach = 50;

/**
 * Creates one machine from its own launch template. Its name and its disk outlast it, so a new
 * machine in its place has its cache.
 */
export function createAwsBuilder(
  shared: AwsFleetResources,
  { name: builder, vendor, number }: AwsBuilder,
): FleetBuilder {
  const { scope, network, buckets } = shared;
  const { config, options } = scope;
  const machine = awsMachines[vendor];
  const size = builderSizes[config.size];
  const name = `${config.name}-${builder}`;
  const tags = awsTags(scope, builder);
  const zone = config.zones[(number - 1) % config.zones.length] ?? "a";
  const serverName = `${builder}.${config.name}.internal`;

  const parameters = certificateParameters(shared, builder, serverName);
  const profile = createBuilderRole(scope, {
    builder,
    buckets,
    parameters: Object.values(parameters).map(({ arn }) => arn),
    logStreams: logStreamNames(builder).map((stream) => logStream(shared, stream)),
  });
  const disk = config.disk === "gp3" ? cacheDisk(scope, builder, zone) : undefined;
  const template = new LaunchTemplate(
    name,
    {
      imageId: shared.images[machine.architecture],
      instanceType: instanceType(config, vendor),
      ebsOptimized: "true",
      iamInstanceProfile: { arn: profile },
      vpcSecurityGroupIds: [network.builders],
      metadataOptions: {
        httpEndpoint: "enabled",
        httpTokens: "required",
        httpPutResponseHopLimit: 1,
        instanceMetadataTags: "disabled",
      },
      blockDeviceMappings: [
        {
          deviceName: "/dev/xvda",
          ebs: { encrypted: "true", volumeType: "gp3", volumeSize: rootGib, deleteOnTermination: "true" },
        },
      ],
      // An idle builder, or a spot instance that AWS takes back, stops and is not terminated.
      instanceInitiatedShutdownBehavior: "stop",
      ...(config.spot ? { instanceMarketOptions: spot } : {}),
      tagSpecifications: ["instance", "volume", "network-interface"].map((resourceType) => ({
        resourceType,
        tags,
      })),
      tags,
    },
    options,
  );
  const instance = new Instance(
    name,
    {
      launchTemplate: { id: template.id, version: interpolate`${template.latestVersion}` },
      subnetId: network.subnets.get(zone) ?? "",
      userData: userDataOf(shared, machine.architecture, builder, disk),
      userDataReplaceOnChange: true,
      tags,
    },
    // A disk can be attached to one machine only.
    {
      ...options,
      deleteBeforeReplace: true,
      dependsOn: [...Object.values(parameters), ...network.boundaries],
    },
  );
  if (disk) {
    new VolumeAttachment(
      name,
      {
        deviceName: "/dev/sdf",
        instanceId: instance.id,
        volumeId: disk.id,
        stopInstanceBeforeDetaching: true,
      },
      { ...options, deleteBeforeReplace: true },
    );
  }
  new InstanceState(
    name,
    { instanceId: instance.id, state: config.running ? "running" : "stopped" },
    options,
  );
  const facts = {
    name: builder,
    platforms: machine.platforms,
    vendor: machine.cpuVendor,
    machine: instanceType(config, vendor),
    slots: size.slots,
    memory: (size.gib - systemGib) * 2 ** 30,
    tls: { ...shared.client, serverName },
  };
  if (config.reach !== "ssm")
    return { ...facts, address: interpolate`tcp://${instance.privateIp}:${buildPort}` };
  const localPort = config.localPort + awsVendors.indexOf(vendor) * portsEach + number - 1;
  return {
    ...facts,
    address: output(`tcp://127.0.0.1:${localPort}`),
    tunnel: { instance: instance.id, region: config.region, remotePort: buildPort, localPort },
  };
}

/** Only a persistent spot request can be stopped and started again. */
const spot = {
  marketType: "spot",
  spotOptions: { spotInstanceType: "persistent", instanceInterruptionBehavior: "stop" },
} as const;

function cacheDisk(scope: AwsScope, builder: string, zone: string): Volume {
  const { config, options } = scope;
  const args = {
    availabilityZone: `${config.region}${zone}`,
    encrypted: true,
    type: "gp3",
    size: config.diskGib ?? builderSizes[config.size].cacheGib,
    throughput: 250,
    tags: awsTags(scope, `${builder}-cache`),
  };
  return new Volume(`${config.name}-${builder}-cache`, args, options);
}

/** Creates parameters for the builder's side of mutual TLS. No other builder can read them. */
function certificateParameters(shared: AwsFleetResources, builder: string, serverName: string) {
  const { scope, certificates } = shared;
  const { certificate, key } = certificates.issueServerCertificate(builder, serverName);
  const parameter = (name: string, type: "String" | "SecureString", value: Input<string>) =>
    new Parameter(
      `${scope.config.name}-${builder}-${name}`,
      {
        name: `${parametersOf(scope, builder)}/${name}`,
        type,
        value,
        tags: awsTags(scope, `${builder}-${name}`),
      },
      scope.options,
    );
  return {
    ca: parameter("ca", "String", certificates.ca),
    certificate: parameter("certificate", "String", certificate),
    key: parameter("key", "SecureString", key),
  };
}

/**
 * Creates a log stream for a builder: a builder that may create streams could take the name of
 * another one.
 */
function logStream({ scope, logGroup }: AwsFleetResources, name: string): Output<string> {
  const args = { name, logGroupName: logGroup.name };
  return new LogStream(`${scope.config.name}-${name}-log`, args, scope.options).arn;
}

function parametersOf({ config }: AwsScope, builder: string): string {
  return `/stagex/${config.name}/${builder}`;
}

function userDataOf(
  { scope, buckets, logGroup, programs }: AwsFleetResources,
  architecture: Architecture,
  builder: string,
  disk: Volume | undefined,
): Output<string> {
  const { config } = scope;
  const pinned = (programs[architecture] ?? []).map(({ name, sha256 }) => [name, sha256] as const);
  const cacheDevice = disk
    ? disk.id.apply((id) => `nvme-Amazon_Elastic_Block_Store_${id.replace("-", "")}`)
    : output("nvme-Amazon_EC2_NVMe_Instance_Storage_*");
  return output([buckets.programs.name, logGroup.name, cacheDevice] as const).apply(
    ([bucket, group, device]) =>
      userData({
        region: config.region,
        architecture,
        bucket,
        programs: Object.fromEntries(pinned),
        parameters: parametersOf(scope, builder),
        cacheDevice: device,
        slots: builderSizes[config.size].slots,
        idleMinutes: config.idleMinutes,
        logGroup: group,
        logStream: builder,
      }),
  );
}
