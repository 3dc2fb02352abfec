import { RepositoryCreationTemplate } from "@pulumi/aws/ecr/index.js";
import { Role, RolePolicy } from "@pulumi/aws/iam/index.js";
import {
  Bucket,
  BucketLifecycleConfiguration,
  BucketOwnershipControls,
  BucketPolicy,
  BucketPublicAccessBlock,
  BucketServerSideEncryptionConfiguration,
  BucketVersioning,
} from "@pulumi/aws/s3/index.js";
import { jsonStringify, type Output } from "@pulumi/pulumi";
import { type BucketKind, bucketKinds } from "../../config/aws-fleet.ts";
import { type AwsScope, awsTags } from "./aws-scope.ts";

export type AwsBucket = { readonly name: Output<string>; readonly arn: Output<string> };
export type AwsBuckets = Readonly<Record<BucketKind, AwsBucket>>;

/** The buckets of evidence, which keep overwritten versions. */
const versioned: readonly BucketKind[] = ["signatures", "ledger"];
/** Days until cache entries expire. */
const cacheDays = 30;

/** Creates a bucket of each kind: encrypted, closed to the public, and reached over TLS only. */
export function createBuckets(scope: AwsScope): AwsBuckets {
  return Object.fromEntries(bucketKinds.map((kind) => [kind, bucketFor(scope, kind)])) as Record<
    BucketKind,
    AwsBucket
  >;
}

function bucketFor(scope: AwsScope, kind: BucketKind): AwsBucket {
  const { config, options } = scope;
  const name = `${config.name}-${kind}`;
  const isKept = config.keep.includes(kind);
  const made = new Bucket(
    name,
    {
      // Its objects are no resources of this stack. All but evidence can be made again; `keep`
      // protects it.
      forceDestroy: !isKept,
      tags: awsTags(scope, kind),
    },
    { ...options, retainOnDelete: isKept },
  );
  const of = { bucket: made.id };
  // A kept bucket also keeps its protection.
  const staying = { ...options, retainOnDelete: isKept };
  const closed = new BucketPublicAccessBlock(
    name,
    {
      ...of,
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    },
    staying,
  );
  new BucketOwnershipControls(name, { ...of, rule: { objectOwnership: "BucketOwnerEnforced" } }, staying);
  new BucketServerSideEncryptionConfiguration(
    name,
    { ...of, rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }] },
    staying,
  );
  new BucketPolicy(name, { ...of, policy: tlsOnly(made.arn) }, { ...staying, dependsOn: [closed] });
  if (versioned.includes(kind))
    new BucketVersioning(name, { ...of, versioningConfiguration: { status: "Enabled" } }, staying);
  new BucketLifecycleConfiguration(
    name,
    {
      ...of,
      rules: [
        { id: "uploads", status: "Enabled", abortIncompleteMultipartUpload: { daysAfterInitiation: 1 } },
        ...(kind === "cache" ? [{ id: "old", status: "Enabled", expiration: { days: cacheDays } }] : []),
      ],
    },
    staying,
  );
  return { name: made.bucket, arn: made.arn };
}

function tlsOnly(arn: Output<string>): Output<string> {
  return jsonStringify({
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Deny",
        Principal: "*",
        Action: "s3:*",
        Resource: [arn, arn.apply((text) => `${text}/*`)],
        Condition: { Bool: { "aws:SecureTransport": "false" } },
      },
    ],
  });
}

/**
 * Creates the template of all repositories: ECR creates one when an image is first pushed. They are
 * no resources of this stack, so `destroy` leaves them; the stack's output `leftovers` is the
 * command that deletes them. Tags are immutable, except `latest`.
 */
export function createRepositoryTemplate(scope: AwsScope): void {
  const { config, options } = scope;
  const name = `${config.name}-registry`;
  const role = new Role(
    name,
    {
      assumeRolePolicy: jsonStringify({
        Version: "2012-10-17",
        Statement: [
          { Effect: "Allow", Principal: { Service: "ecr.amazonaws.com" }, Action: "sts:AssumeRole" },
        ],
      }),
      tags: awsTags(scope, "registry"),
    },
    options,
  );
  const policy = new RolePolicy(
    name,
    {
      role: role.id,
      policy: jsonStringify({
        Version: "2012-10-17",
        Statement: [
          {
            Effect: "Allow",
            Action: ["ecr:CreateRepository", "ecr:TagResource"],
            Resource: `arn:aws:ecr:${config.region}:*:repository/${config.name}/*`,
          },
        ],
      }),
    },
    options,
  );
  new RepositoryCreationTemplate(
    name,
    {
      prefix: config.name,
      description: "StageX images of this fleet",
      appliedFors: ["CREATE_ON_PUSH"],
      customRoleArn: role.arn,
      encryptionConfigurations: [{ encryptionType: "AES256" }],
      imageTagMutability: "IMMUTABLE_WITH_EXCLUSION",
      imageTagMutabilityExclusionFilters: [{ filter: "latest", filterType: "WILDCARD" }],
      resourceTags: awsTags(scope, "image"),
    },
    { ...options, dependsOn: [policy] },
  );
}
