import type { AwsFleetConfig } from "../../config/aws-fleet.ts";

/**
 * The AWS services that builders reach through an interface endpoint. S3 has a gateway, which is
 * free.
 */
export const endpointServices = ["ssm", "ssmmessages", "logs", "ecr.dkr"] as const;
export type EndpointService = (typeof endpointServices)[number];

/** An endpoint's policy, in the language of IAM. */
export type EndpointPolicy = { readonly Version: "2012-10-17"; readonly Statement: readonly object[] };

type EndpointScope = {
  readonly config: Pick<AwsFleetConfig, "name" | "region">;
  /** The account's number. */
  readonly account: string;
};

/**
 * Returns the policy of an endpoint: only this account's credentials pass, for the builders'
 * actions, on this account's resources. Without a policy an endpoint accepts any credentials. A
 * build that broke out could use another account's, and send data there (AWS PrivateLink: "Control
 * access to VPC endpoints using endpoint policies").
 */
export function endpointPolicy(service: EndpointService, { config, account }: EndpointScope): EndpointPolicy {
  const { name, region } = config;
  const arn = (of: string, resource: string) => `arn:aws:${of}:${region}:${account}:${resource}`;
  const allow = (Action: string[], Resource: string) => own(account, Action, Resource);
  const statements = {
    // The credentials identify the machine that reports: this action can name no resource of
    // another account.
    ssm: [
      allow(["ssm:UpdateInstanceInformation"], "*"),
      allow(["ssm:GetParameter"], arn("ssm", `parameter/stagex/${name}/*`)),
    ],
    ssmmessages: [allow(sessionActions, "*")],
    logs: [allow(["logs:PutLogEvents"], arn("logs", `log-group:/stagex/${name}:log-stream:*`))],
    // Images are only pulled: no data leaves through it.
    "ecr.dkr": [
      allow(
        ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
        arn("ecr", "repository/*"),
      ),
    ],
  } satisfies Record<EndpointService, object[]>;
  return policy(statements[service]);
}

/** The actions of a remote session. They take no narrower resource than `*`. */
export const sessionActions = [
  "ssmmessages:CreateControlChannel",
  "ssmmessages:CreateDataChannel",
  "ssmmessages:OpenControlChannel",
  "ssmmessages:OpenDataChannel",
];

/**
 * Returns the policy of S3's gateway: only this account's credentials pass, to the fleet's own
 * buckets. Another account can take the name of a deleted bucket, so the policy requires the
 * account too. ECR keeps its layers in a bucket of AWS, which is read with signed addresses of ECR
 * and never written.
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

/**
 * Returns the bucket in which ECR keeps a region's layers (Amazon ECR: "Minimum Amazon S3 bucket
 * permissions").
 */
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
