import { InstanceProfile, Role, RolePolicy } from "@pulumi/aws/iam/index.js";
import { jsonStringify, type Output } from "@pulumi/pulumi";
import { sessionActions } from "./aws-endpoint-policy.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import type { AwsBuckets } from "./aws-storage.ts";

export type BuilderRoleArgs = {
  readonly builder: string;
  readonly buckets: AwsBuckets;
  /** ARNs of the parameters with its key and certificates. */
  readonly parameters: readonly Output<string>[];
  /** ARNs of its log streams. */
  readonly logStreams: readonly Output<string>[];
};

/**
 * Creates the role of one builder: it reads its own key, and writes below its own prefix and to its
 * own log streams. AWS's policy AmazonSSMManagedInstanceCore lets a machine read every parameter of
 * the account, other builders' keys included. This role permits only what remote sessions need. The
 * actions on `*` take no narrower resource.
 *
 * @returns the ARN of the instance profile
 */
export function createBuilderRole(scope: AwsScope, args: BuilderRoleArgs): Output<string> {
  const { config, options } = scope;
  const { programs, cache } = args.buckets;
  const name = `${config.name}-${args.builder}`;
  const tags = awsTags(scope, args.builder);
  const role = new Role(
    name,
    {
      assumeRolePolicy: jsonStringify({
        Version: "2012-10-17",
        Statement: [
          { Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" },
        ],
      }),
      tags,
    },
    options,
  );
  const allow = (Action: string[], Resource: unknown) => ({ Effect: "Allow", Action, Resource });
  const below = (arn: Output<string>, prefix: string) => arn.apply((text) => `${text}/${prefix}/*`);
  const mine = `builders/${args.builder}`;
  new RolePolicy(
    name,
    {
      role: role.id,
      policy: jsonStringify({
        Version: "2012-10-17",
        Statement: [
          allow(["ssm:UpdateInstanceInformation", ...sessionActions], "*"),
          allow(["ssm:GetParameter"], [...args.parameters]),
          allow(["s3:GetObject"], below(programs.arn, "programs")),
          allow(["s3:PutObject"], below(cache.arn, mine)),
          allow(["s3:GetObject"], below(cache.arn, config.sharedCache ? "builders" : mine)),
          // Without it S3 answers "forbidden" for objects that do not exist yet.
          allow(["s3:ListBucket"], cache.arn),
          // Its streams are created for it, so it needs no permission to create any.
          allow(["logs:PutLogEvents"], [...args.logStreams]),
        ],
      }),
    },
    options,
  );
  return new InstanceProfile(name, { role: role.name, tags }, options).arn;
}
