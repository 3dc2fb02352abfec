import type { AwsFleetConfig } from "../../config/aws-fleet.ts";

/** Services of AWS that builders reach by an interface endpoint; S3 has a gateway, which costs nothing. */
export const endpointServices = ["ssm", "ssmmessages", "logs", "ecr.dkr"] as const;
export type EndpointService = (typeof endpointServices)[number];

/** A policy of IAM's language, as an endpoint takes one. */
export type EndpointPolicy = { readonly Version: "2012-10-17"; readonly Statement: readonly object[] };

type Ground = {
  readonly config: Pick<AwsFleetConfig, "name" | "region">;
  /** The account's number. */
  readonly account: string;
};

/**
 * What may pass an endpoint: nothing but this account's credentials, for what builders do, to this account's resources. Without a policy an
 * endpoint takes any credentials: a build that broke out could bring another account's, and send there what it read
 * (AWS PrivateLink: "Control access to VPC endpoints using endpoint policies").
 */
export function endpointPolicy(service: EndpointService, { config, account }: Ground): EndpointPolicy {
  const { name, region } = config;
  const arn = (of: string, resource: string) => `arn:aws:${of}:${region}:${account}:${resource}`;
  const allow = (Action: string[], Resource: string) => own(account, Action, Resource);
  const statements = {
    // Which machine it is that reports is told by its credentials: no resource of another account can be named.
    ssm: [
      allow(["ssm:UpdateInstanceInformation"], "*"),
      allow(["ssm:GetParameter"], arn("ssm", `parameter/stagex/${name}/*`)),
    ],
    ssmmessages: [allow(sessionActions, "*")],
    logs: [allow(["logs:PutLogEvents"], arn("logs", `log-group:/stagex/${name}:log-stream:*`))],
    // Pulled only: nothing leaves through it.
    "ecr.dkr": [
      allow(
        ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
        arn("ecr", "repository/*"),
      ),
    ],
  } satisfies Record<EndpointService, object[]>;
  return policy(statements[service]);
}

/** What a remote session is made of; these actions know no resource. */
export const sessionActions = [
  "ssmmessages:CreateControlChannel",
  "ssmmessages:CreateDataChannel",
  "ssmmessages:OpenControlChannel",
  "ssmmessages:OpenDataChannel",
];

/**
 * What may pass S3's gateway: this account's credentials, to the fleet's own buckets. A bucket's name can be another account's once it was
 * deleted here, so the account counts, too. ECR keeps its layers in a bucket of AWS's, which is read with signed addresses of ECR's
 * own, and never written.
 *
 * @param buckets their ARNs
 */
export function storagePolicy(
  { config, account }: { config: Pick<AwsFleetConfig, "region" | "registry">; account: string },
  buckets: readonly string[],
): EndpointPolicy {
  const actions = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"];
  const resources = buckets.flatMap((arn) => [arn, `${arn}/*`]);
  const layers = `arn:aws:s3:::${layerBucket(config.region)}/*`;
  return policy([
    own(account, actions, resources, { "aws:ResourceAccount": account }),
    ...(config.registry
      ? [{ Effect: "Allow", Principal: "*", Action: ["s3:GetObject"], Resource: layers }]
      : []),
  ]);
}

/** Where ECR keeps the layers of a region (Amazon ECR: "Minimum Amazon S3 bucket permissions"). */
export function layerBucket(region: string): string {
  return `prod-${region}-starport-layer-bucket`;
}

function policy(Statement: readonly object[]): EndpointPolicy {
  return { Version: "2012-10-17", Statement };
}

function own(
  account: string,
  Action: readonly string[],
  Resource: string | readonly string[],
  further: Readonly<Record<string, string>> = {},
): object {
  const Condition = { StringEquals: { "aws:PrincipalAccount": account, ...further } };
  return { Effect: "Allow", Principal: "*", Action, Resource, Condition };
}
