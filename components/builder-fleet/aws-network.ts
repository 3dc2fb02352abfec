import {
  DefaultSecurityGroup,
  RouteTable,
  RouteTableAssociation,
  SecurityGroup,
  Subnet,
  Vpc,
  VpcEndpoint,
} from "@pulumi/aws/ec2/index.js";
import { SecurityGroupEgressRule, SecurityGroupIngressRule } from "@pulumi/aws/vpc/index.js";
import { all, jsonStringify, type Output, type Resource } from "@pulumi/pulumi";
import { createDnsFirewall } from "./aws-dns-firewall.ts";
import { endpointPolicy, endpointServices, layerBucket, storagePolicy } from "./aws-endpoint-policy.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import type { AwsBuckets } from "./aws-storage.ts";

/** The port that buildkitd listens on. */
export const buildPort = 1234;

/** The network that builders run in. */
export type AwsNetwork = {
  /** By the zone's letter. */
  readonly subnets: ReadonlyMap<string, Output<string>>;
  readonly builders: Output<string>;
  /** The security group whose machines may connect to builders, with `reach: group`. */
  readonly orchestrators: Output<string> | undefined;
  /**
   * The resources that must exist before a builder starts: its ways to AWS, and the blocks on all
   * others.
   */
  readonly boundaries: readonly Resource[];
};

/**
 * Creates a closed network: no gateway to the internet, in or out, no public address, and no names
 * but the endpoints'. A build that breaks out of its sandbox reaches no other host, and no outside
 * host reaches the build port. AWS's services are reached through endpoints inside, with this
 * account's credentials only. Clients reach the build port through Systems Manager, where AWS
 * authenticates and logs them, or from inside the network.
 */
export function createAwsNetwork(scope: AwsScope, buckets: AwsBuckets): AwsNetwork {
  const { config, options } = scope;
  const named = (name: string) => ({ tags: awsTags(scope, name) });
  const vpc = new Vpc(
    `${config.name}-vpc`,
    { cidrBlock: "10.60.0.0/16", enableDnsSupport: true, enableDnsHostnames: true, ...named("vpc") },
    options,
  );
  const vpcId = vpc.id;
  // The group that AWS creates admits all its members: without rules, a machine in it by mistake
  // reaches nothing.
  new DefaultSecurityGroup(`${config.name}-default`, { vpcId, ...named("default") }, options);
  const routes = new RouteTable(`${config.name}-routes`, { vpcId, ...named("routes") }, options);
  const subnets = new Map(
    config.zones.map((zone, index) => [zone, subnetIn(scope, vpcId, routes.id, zone, index)] as const),
  );
  const builders = group(scope, vpcId, "builders", "Builders: out to services of AWS alone");
  const endpoints = group(scope, vpcId, "endpoints", "Endpoints of services of AWS: in from builders");
  const s3 = new VpcEndpoint(
    `${config.name}-s3`,
    {
      vpcId,
      serviceName: `com.amazonaws.${config.region}.s3`,
      vpcEndpointType: "Gateway",
      routeTableIds: [routes.id],
      policy: jsonStringify(
        all([vpc.ownerId, all(Object.values(buckets).map(({ arn }) => arn))]).apply(([account, arns]) =>
          storagePolicy({ config, account }, arns),
        ),
      ),
      ...named("s3"),
    },
    options,
  );
  const first = [...subnets.values()].slice(0, 1);
  const services = endpointServices.filter((service) => config.registry || service !== "ecr.dkr");
  const interfaces = services.map(
    (service) =>
      new VpcEndpoint(
        `${config.name}-${service}`,
        {
          vpcId,
          serviceName: `com.amazonaws.${config.region}.${service}`,
          vpcEndpointType: "Interface",
          privateDnsEnabled: true,
          subnetIds: first,
          securityGroupIds: [endpoints],
          policy: jsonStringify(vpc.ownerId.apply((account) => endpointPolicy(service, { config, account }))),
          ...named(service),
        },
        options,
      ),
  );
  const firewall = createDnsFirewall(scope, vpcId, endpointNames(scope, vpc.ownerId, buckets));
  const https = { ipProtocol: "tcp", fromPort: 443, toPort: 443 };
  new SecurityGroupEgressRule(
    `${config.name}-builders-to-endpoints`,
    { securityGroupId: builders, referencedSecurityGroupId: endpoints, ...https, ...named("to-endpoints") },
    options,
  );
  new SecurityGroupEgressRule(
    `${config.name}-builders-to-s3`,
    { securityGroupId: builders, prefixListId: s3.prefixListId, ...https, ...named("to-s3") },
    options,
  );
  new SecurityGroupIngressRule(
    `${config.name}-endpoints-from-builders`,
    { securityGroupId: endpoints, referencedSecurityGroupId: builders, ...https, ...named("from-builders") },
    options,
  );
  const orchestrators = openBuildPort(scope, vpcId, builders);
  return { subnets, builders, orchestrators, boundaries: [s3, ...interfaces, ...firewall] };
}

/**
 * Returns the names that builders look up: the endpoints', and for S3 those of the fleet's own
 * buckets.
 */
function endpointNames({ config }: AwsScope, account: Output<string>, buckets: AwsBuckets): Output<string[]> {
  const domain = `${config.region}.amazonaws.com`;
  const s3 = `s3.${domain}`;
  const names = all(Object.values(buckets).map(({ name }) => name));
  return all([account, names]).apply(([registry, bucketNames]) => [
    ...endpointServices.filter((service) => service !== "ecr.dkr").map((service) => `${service}.${domain}`),
    s3,
    ...bucketNames.map((bucket) => `${bucket}.${s3}`),
    ...(config.registry ? [`${registry}.dkr.ecr.${domain}`, `${layerBucket(config.region)}.${s3}`] : []),
  ]);
}

function subnetIn(
  scope: AwsScope,
  vpcId: Output<string>,
  routeTableId: Output<string>,
  zone: string,
  index: number,
): Output<string> {
  const { config, options } = scope;
  const name = `${config.name}-subnet-${zone}`;
  const subnet = new Subnet(
    name,
    {
      vpcId,
      availabilityZone: `${config.region}${zone}`,
      cidrBlock: `10.60.${index}.0/24`,
      mapPublicIpOnLaunch: false,
      tags: awsTags(scope, `subnet-${zone}`),
    },
    options,
  );
  new RouteTableAssociation(name, { subnetId: subnet.id, routeTableId }, options);
  return subnet.id;
}

function group(scope: AwsScope, vpcId: Output<string>, name: string, description: string): Output<string> {
  const args = { vpcId, description, tags: awsTags(scope, name) };
  return new SecurityGroup(`${scope.config.name}-${name}`, args, scope.options).id;
}

/**
 * Opens the build port to the configured clients; by default to none, as Systems Manager connects
 * from the machine itself.
 */
function openBuildPort(
  scope: AwsScope,
  vpcId: Output<string>,
  builders: Output<string>,
): Output<string> | undefined {
  const { reach } = scope.config;
  if (reach === "ssm") return undefined;
  const orchestrators =
    reach === "group" ? group(scope, vpcId, "orchestrators", "Whoever may use the builders") : undefined;
  const from =
    orchestrators === undefined ? { cidrIpv4: reach } : { referencedSecurityGroupId: orchestrators };
  new SecurityGroupIngressRule(
    `${scope.config.name}-build-port`,
    {
      securityGroupId: builders,
      ipProtocol: "tcp",
      fromPort: buildPort,
      toPort: buildPort,
      ...from,
      tags: awsTags(scope, "build-port"),
    },
    scope.options,
  );
  return orchestrators;
}
