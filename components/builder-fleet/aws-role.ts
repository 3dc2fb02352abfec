import { InstanceProfile, Role, RolePolicy } from "@pulumi/aws/iam/index.js";
import { jsonStringify, type Output } from "@pulumi/pulumi";
import { sessionActions } from "./aws-endpoint-policy.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";
import type { AwsBuckets } from "./aws-storage.ts";

export type BuilderRoleArgs = {
  readonly builder: string;
  readonly buckets: AwsBuckets;
  /** Of its key and certificates. */
  readonly parameters: readonly Output<string>[];
  /** ARNs of its own log streams. */
  readonly logStreams: readonly Output<string>[];
};

/**
 * What one builder may do, and no other: it reads its own key, writes below its own prefix and to its own log streams. AWS's ready-made policy
 * AmazonSSMManagedInstanceCore lets a machine read every parameter of the account, other builders' keys among them; this one has
 * what remote sessions need, and not that. The actions on `*` know no narrower resource.
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
          // Without it S3 says "forbidden" of what is not there yet.
          allow(["s3:ListBucket"], cache.arn),
          // Its streams are made for it: it names no others.
          allow(["logs:PutLogEvents"], [...args.logStreams]),
        ],
      }),
    },
    options,
  );
  return new InstanceProfile(name, { role: role.name, tags }, options).arn;
}
