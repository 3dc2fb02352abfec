import { beforeAll, describe, expect, test } from "vitest";
import { AwsFleet } from "../../../../components/builder-fleet/aws.ts";
import type { Program } from "../../../../components/builder-fleet/aws-programs.ts";
import { awsBuilders, awsFleetConfig, builderSizes } from "../../../../config/aws-fleet.ts";
import { configuredBuilders } from "../../../../config/builders.ts";
import { reportFleetCost, toConfiguredBuilders } from "../../../../stacks/fleet.ts";
import { type IamRequest, isAllowed } from "../../../support/builders/iam-policy.ts";
import { type Asked, known, mockedStack, secretsIn } from "../../../support/builders/mocked-stack.ts";

const digits = (digit: string): string => digit.repeat(64);
const program = (name: string, digit: string): Program => ({
  name,
  path: `.stagex/programs/${digits(digit)}`,
  sha256: digits(digit),
});
const programs = {
  amd64: [program("buildkitd", "a"), program("runc", "b")],
  arm64: [program("buildkitd", "c"), program("runc", "d")],
};
/** The mocked account, and somebody else's. */
const account = "123456789012";
const foreign = "999999999999";
const images = { amd64: "ami-0a", arm64: "ami-0b" };
const everything = {
  builders: { intel: 2, amd: 1, graviton: 1 },
  budget: { email: "infra@example.org" },
  tags: { team: "infra" },
};

/** The fleet with this configuration, and what it asked for. */
async function made(
  config: object,
  now = new Date("2026-03-01"),
): Promise<{ asked: Asked[]; fleet: AwsFleet }> {
  const { asked, returned } = await mockedStack(
    () => new AwsFleet("fleet", { config: awsFleetConfig.parse(config), images, programs, now }),
  );
  return { asked, fleet: returned };
}

function ofType(asked: readonly Asked[], type: string): Asked[] {
  const found = asked.filter((resource) => resource.type.endsWith(`:${type}`));
  expect(found.length, `resources of type ${type}`).toBeGreaterThan(0);
  return found;
}

type Statement = {
  Effect: string;
  Action: string | string[];
  Resource?: string | string[];
  Condition?: object;
};

/** The statements of a policy document, and whose it is. */
function statements(asked: readonly Asked[], type: string): (Statement & { of: string })[] {
  return ofType(asked, type).flatMap(({ name, inputs }) =>
    (JSON.parse(String(inputs.policy)) as { Statement: Statement[] }).Statement.map((statement) => ({
      of: name,
      ...statement,
    })),
  );
}

const list = (value: string | string[] | undefined): string[] => [value ?? []].flat();

/** What AWS gives no tags to, or what has none of its own. */
const untagged =
  /:(AwsFleet|Authority|Certificate|RolePolicy|RouteTableAssociation|ResolverFirewall(Rule|Config)|LogStream|VolumeAttachment|InstanceState|RepositoryCreationTemplate|Bucket(Policy|Versioning|PublicAccessBlock|OwnershipControls|ServerSideEncryptionConfiguration|LifecycleConfiguration))$|^pulumi:providers:/;

describe("with all settings on", () => {
  let asked: Asked[];
  let fleet: AwsFleet;
  beforeAll(async () => {
    ({ asked, fleet } = await made(everything));
  });

  test("closes the build port to the outside: there is no way in, and no rule that would open one", () => {
    expect(asked.map(({ type }) => type).filter((type) => /Gateway:|Eip:|NatGateway/.test(type))).toEqual([]);
    const rules = ofType(asked, "SecurityGroupIngressRule").map(({ inputs }) => inputs);
    expect(rules.map(({ securityGroupId, fromPort, toPort }) => [securityGroupId, fromPort, toPort])).toEqual(
      [["stagex-endpoints-id", 443, 443]],
    );
    for (const { inputs } of ofType(asked, "SecurityGroup")) expect(inputs).not.toHaveProperty("ingress");
    expect(ofType(asked, "DefaultSecurityGroup")[0]?.inputs).not.toHaveProperty("ingress");
    for (const { inputs } of ofType(asked, "Subnet")) expect(inputs.mapPublicIpOnLaunch).toBe(false);
    for (const { inputs } of ofType(asked, "LaunchTemplate")) {
      expect(inputs.vpcSecurityGroupIds).toEqual(["stagex-builders-id"]);
      expect([inputs.networkInterfaces, inputs.keyName]).toEqual([undefined, undefined]);
    }
    expect(JSON.stringify(asked)).not.toContain("0.0.0.0/0");
    expect(JSON.stringify(asked)).not.toContain("::/0");
  });

  test("lets builders reach AWS's endpoints, and the fleet's own buckets in S3", () => {
    const rules = ofType(asked, "SecurityGroupEgressRule").map(({ inputs }) => inputs);
    expect(rules.map((rule) => [rule.referencedSecurityGroupId ?? rule.prefixListId, rule.fromPort])).toEqual(
      [
        ["stagex-endpoints-id", 443],
        ["pl-s3", 443],
      ],
    );
    const endpoints = ofType(asked, "VpcEndpoint").map(({ name, inputs }) => [name, inputs.vpcEndpointType]);
    expect(Object.fromEntries(endpoints)).toEqual({
      "stagex-s3": "Gateway",
      "stagex-ssm": "Interface",
      "stagex-ssmmessages": "Interface",
      "stagex-logs": "Interface",
      "stagex-ecr.dkr": "Interface",
    });
  });

  /** Whether an endpoint lets a request of the builders' kind pass, but for what the test changes of it. */
  function passes(endpoint: string, request: Partial<IamRequest>): boolean {
    const [found] = asked.filter(({ type, name }) => /:VpcEndpoint$/.test(type) && name === endpoint);
    return isAllowed(JSON.parse(String(found?.inputs.policy)), {
      ...{ action: "", resource: "*", principalAccount: account, resourceAccount: account },
      ...request,
    });
  }

  const here = "arn:aws:ssm:us-east-2:123456789012";
  /** What builders do, and over which endpoint. */
  const needed: readonly [string, string, string][] = [
    ["stagex-ssm", "ssm:UpdateInstanceInformation", "*"],
    ["stagex-ssm", "ssm:GetParameter", `${here}:parameter/stagex/stagex/intel-1/key`],
    ["stagex-ssmmessages", "ssmmessages:CreateControlChannel", "*"],
    ["stagex-ssmmessages", "ssmmessages:CreateDataChannel", "*"],
    ["stagex-ssmmessages", "ssmmessages:OpenControlChannel", "*"],
    ["stagex-ssmmessages", "ssmmessages:OpenDataChannel", "*"],
    [
      "stagex-logs",
      "logs:PutLogEvents",
      "arn:aws:logs:us-east-2:123456789012:log-group:/stagex/stagex:log-stream:intel-1",
    ],
    ["stagex-ecr.dkr", "ecr:BatchGetImage", "arn:aws:ecr:us-east-2:123456789012:repository/stagex/core-musl"],
    ["stagex-s3", "s3:GetObject", `arn:aws:s3:us-east-2:${account}:stagex-programs/programs/aa`],
    ["stagex-s3", "s3:PutObject", `arn:aws:s3:us-east-2:${account}:stagex-cache/builders/intel-1/x`],
    ["stagex-s3", "s3:ListBucket", `arn:aws:s3:us-east-2:${account}:stagex-cache`],
  ];

  test.for(needed)(
    "%s lets this account's credentials do %s, and nobody else's",
    ([endpoint, action, resource]) => {
      expect(passes(endpoint, { action, resource })).toBe(true);
      expect(passes(endpoint, { action, resource, principalAccount: foreign })).toBe(false);
      // With credentials that are nobody's, such as an anonymous request has.
      expect(passes(endpoint, { action, resource, principalAccount: undefined })).toBe(false);
    },
  );

  test.for(needed.filter(([, , resource]) => resource !== "*"))(
    "%s lets nobody do %s to another account's resource",
    ([endpoint, action, resource]) => {
      for (const principalAccount of [account, foreign, undefined])
        expect(
          passes(endpoint, {
            ...{ action, principalAccount, resourceAccount: foreign },
            // A bucket's ARN has no account: its name can become another's.
            resource: endpoint === "stagex-s3" ? resource : resource.replace(account, foreign),
          }),
        ).toBe(false);
    },
  );

  test.for([
    ["stagex-s3", "s3:PutObject", "arn:aws:s3:::elsewhere/loot"],
    ["stagex-s3", "s3:PutObject", "arn:aws:s3:::prod-us-east-2-starport-layer-bucket/loot"],
    ["stagex-s3", "s3:GetObject", "arn:aws:s3:::al2023-repos-us-east-2-de612dc2/repomd.xml"],
    ["stagex-s3", "s3:DeleteObject", `arn:aws:s3:us-east-2:${account}:stagex-ledger/x`],
    ["stagex-ssm", "ssm:PutParameter", `${here}:parameter/stagex/stagex/intel-1/key`],
    ["stagex-ssm", "ssm:GetParameter", `${here}:parameter/production/password`],
    ["stagex-ssm", "ssm:SendCommand", "*"],
    [
      "stagex-logs",
      "logs:CreateLogStream",
      "arn:aws:logs:us-east-2:123456789012:log-group:/stagex/stagex:log-stream:x",
    ],
    ["stagex-logs", "logs:PutLogEvents", "arn:aws:logs:us-east-2:123456789012:log-group:/other:log-stream:x"],
    ["stagex-ecr.dkr", "ecr:PutImage", "arn:aws:ecr:us-east-2:123456789012:repository/stagex/core-musl"],
  ] as const)("%s lets nobody do %s to %s", ([endpoint, action, resource]) => {
    for (const principalAccount of [account, foreign, undefined])
      expect(passes(endpoint, { action, resource, principalAccount })).toBe(false);
  });

  test("permits reading ECR's layers with its signed addresses, only with a registry", async () => {
    const layer = { action: "s3:GetObject", resource: "arn:aws:s3:::prod-us-east-2-starport-layer-bucket/x" };
    expect(passes("stagex-s3", { ...layer, principalAccount: foreign, resourceAccount: foreign })).toBe(true);
    const { asked: without } = await made({ registry: false });
    expect(JSON.stringify(without)).not.toContain("starport");
  });

  test("resolves only the endpoints' names, and none if the firewall is unavailable", () => {
    const lists = new Map(
      ofType(asked, "ResolverFirewallDomainList").map(({ name, inputs }) => [`${name}-id`, inputs.domains]),
    );
    const rules = ofType(asked, "ResolverFirewallRule")
      .map(({ inputs }) => inputs)
      .sort((one, other) => Number(one.priority) - Number(other.priority));
    expect(
      rules.map(({ action, blockResponse, firewallDomainListId }) => [
        action,
        blockResponse,
        lists.get(String(firewallDomainListId)),
      ]),
    ).toEqual([
      [
        "ALLOW",
        undefined,
        expect.arrayContaining(["ssm.us-east-2.amazonaws.com", "s3.us-east-2.amazonaws.com"]),
      ],
      ["BLOCK", "NXDOMAIN", ["*"]],
    ]);
    const allowed = lists.get(String(rules[0]?.firewallDomainListId)) as string[];
    expect(
      allowed.filter((name) => name.includes("*") || !name.endsWith(".us-east-2.amazonaws.com")),
    ).toEqual([]);
    expect(allowed).toContain("stagex-programs.s3.us-east-2.amazonaws.com");
    expect(allowed).toContain("123456789012.dkr.ecr.us-east-2.amazonaws.com");
    const ids = new Set(rules.map(({ firewallRuleGroupId }) => firewallRuleGroupId));
    const [association] = ofType(asked, "ResolverFirewallRuleGroupAssociation");
    expect([...ids]).toEqual([association?.inputs.firewallRuleGroupId]);
    expect(association?.inputs.vpcId).toBe("stagex-vpc-id");
    expect(ofType(asked, "ResolverFirewallConfig").map(({ inputs }) => inputs)).toEqual([
      { resourceId: "stagex-vpc-id", firewallFailOpen: "DISABLED" },
    ]);
  });

  test("requires a session for the metadata service, and limits it to the machine itself", () => {
    for (const { inputs } of ofType(asked, "LaunchTemplate")) {
      expect(inputs.metadataOptions).toMatchObject({ httpTokens: "required", httpPutResponseHopLimit: 1 });
    }
  });

  test("encrypts every disk and every bucket", () => {
    for (const { inputs } of ofType(asked, "LaunchTemplate")) {
      expect(inputs.blockDeviceMappings).toMatchObject([{ ebs: { encrypted: "true", volumeType: "gp3" } }]);
    }
    for (const { inputs } of ofType(asked, "Volume")) expect(inputs.encrypted).toBe(true);
    const buckets = ofType(asked, "Bucket").map(({ name }) => name);
    const encrypted = ofType(asked, "BucketServerSideEncryptionConfiguration").map(({ name }) => name);
    expect(encrypted).toEqual(buckets);
    expect(ofType(asked, "RepositoryCreationTemplate")[0]?.inputs.encryptionConfigurations).toEqual([
      { encryptionType: "AES256" },
    ]);
  });

  test("closes every bucket to the public and to requests without TLS", () => {
    const buckets = ofType(asked, "Bucket").map(({ name }) => name);
    const blocks = ofType(asked, "BucketPublicAccessBlock");
    expect(blocks.map(({ name }) => name)).toEqual(buckets);
    for (const { inputs } of blocks) {
      const { bucket: _bucket, ...switches } = inputs;
      expect(Object.values(switches)).toEqual([true, true, true, true]);
    }
    const policies = statements(asked, "BucketPolicy");
    expect(policies.map((policy) => policy.of)).toEqual(buckets);
    for (const policy of policies) {
      expect(policy).toMatchObject({
        Effect: "Deny",
        Condition: { Bool: { "aws:SecureTransport": "false" } },
      });
      expect(list(policy.Resource)).toHaveLength(2);
    }
  });

  test("grants no action by a wildcard, and only actions without a narrower resource on `*`", () => {
    const allowed = statements(asked, "RolePolicy");
    expect(allowed.flatMap(({ Action }) => list(Action)).filter((action) => action.includes("*"))).toEqual(
      [],
    );
    const onAll = allowed.filter(({ Resource }) => list(Resource).includes("*"));
    expect(new Set(onAll.flatMap(({ Action }) => list(Action)))).toEqual(
      new Set([
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]),
    );
  });

  test("lets a builder read only its own key and cache", () => {
    const own = statements(asked, "RolePolicy").filter(({ of }) => of === "stagex-intel-1");
    const resources = own.flatMap(({ Resource }) => list(Resource));
    expect(resources.filter((resource) => /intel-2|amd|graviton/.test(resource))).toEqual([]);
    const keys = own.filter(({ Action }) => list(Action).includes("ssm:GetParameter"));
    expect(keys.flatMap(({ Resource }) => list(Resource))).toEqual(
      ["ca", "certificate", "key"].map((name) => expect.stringMatching(`stagex-intel-1-${name}$`)),
    );
    const writes = own.filter(({ Action }) => list(Action).includes("s3:PutObject"));
    expect(writes.flatMap(({ Resource }) => list(Resource))).toEqual([
      expect.stringMatching(/stagex-cache\/builders\/intel-1\/\*$/),
    ]);
  });

  test("lets a builder write to its own log streams, and create none", () => {
    const streams = ofType(asked, "LogStream");
    for (const builder of ["intel-1", "intel-2", "amd-1", "graviton-1"]) {
      const own = streams.filter(({ inputs }) =>
        [builder, `${builder}-first-boot`].includes(String(inputs.name)),
      );
      expect(own).toHaveLength(2);
      const logging = statements(asked, "RolePolicy").filter(
        ({ of, Action }) =>
          of === `stagex-${builder}` && list(Action).some((action) => action.startsWith("logs:")),
      );
      expect(logging.map(({ Action, Resource }) => [Action, Resource])).toEqual([
        [["logs:PutLogEvents"], own.map(({ name }) => `arn:aws:cloudwatch:us-east-2:${account}:${name}`)],
      ]);
    }
  });

  test("keeps keys as secrets everywhere, and as SecureString in Systems Manager", () => {
    const parameters = ofType(asked, "Parameter").filter(({ name }) => name.endsWith("-key"));
    expect(parameters).toHaveLength(4);
    for (const { inputs } of parameters) {
      expect(inputs.type).toBe("SecureString");
      expect(secretsIn(inputs.value)).toEqual([expect.stringMatching(/^key of stagex-/)]);
    }
    for (const { inputs } of ofType(asked, "Certificate"))
      expect(secretsIn(inputs.authorityKey)).toHaveLength(1);
  });

  test("keeps secrets out of user data, and replaces a machine when it changes", () => {
    for (const { inputs } of ofType(asked, "Instance")) {
      const text = String(inputs.userData);
      expect(text).toMatch(/^#cloud-config\n/);
      expect(text).not.toMatch(/key of|certificate of|PRIVATE KEY|AKIA|password/i);
      expect(secretsIn(inputs.userData)).toEqual([]);
      expect(inputs.userDataReplaceOnChange).toBe(true);
    }
  });

  test("gives each builder its own launch template, role and disk, for its architecture", () => {
    const templates = ofType(asked, "LaunchTemplate");
    const shown = templates.map(({ name, inputs }) => [name, inputs.instanceType, inputs.imageId]);
    expect(shown.sort()).toEqual([
      ["stagex-amd-1", "m8a.4xlarge", "ami-0a"],
      ["stagex-graviton-1", "m8g.4xlarge", "ami-0b"],
      ["stagex-intel-1", "m8i.4xlarge", "ami-0a"],
      ["stagex-intel-2", "m8i.4xlarge", "ami-0a"],
    ]);
    const profiles = templates.map(({ inputs }) => JSON.stringify(inputs.iamInstanceProfile));
    expect(new Set(profiles).size).toBe(4);
    expect(ofType(asked, "Volume")).toHaveLength(4);
  });

  test("gives builders the programs of their architecture, by hash, and linux/386 only on x86", () => {
    const textOf = (name: string): string =>
      String(ofType(asked, "Instance").find((instance) => instance.name === name)?.inputs.userData);
    expect(textOf("stagex-intel-1")).toContain(`${digits("a")} buildkitd`);
    expect(textOf("stagex-intel-1")).toContain("SystemCallArchitectures=x86");
    expect(textOf("stagex-graviton-1")).toContain(`${digits("c")} buildkitd`);
    expect(textOf("stagex-graviton-1")).not.toContain("SystemCallArchitectures=x86");
    const uploads = ofType(asked, "BucketObjectv2").map(({ inputs }) => inputs.key);
    expect(uploads.sort()).toEqual(["a", "b", "c", "d"].map((digit) => `programs/${digits(digit)}`));
  });

  test("tags every resource that can have tags", () => {
    const tagged = asked.filter(({ type }) => !untagged.test(type));
    expect(tagged.length).toBeGreaterThan(50);
    for (const { name, inputs } of tagged)
      expect([name, inputs.tags]).toEqual([
        name,
        expect.objectContaining({ "stagex:fleet": "stagex", team: "infra" }),
      ]);
    for (const { inputs } of ofType(asked, "LaunchTemplate")) {
      const kinds = (inputs.tagSpecifications as { resourceType: string }[]).map(
        ({ resourceType }) => resourceType,
      );
      expect(kinds).toEqual(["instance", "volume", "network-interface"]);
    }
  });

  test("sends budget alarms to the configured address, before and when the budget is spent", () => {
    const [budget] = ofType(asked, "Budget");
    const alarms = budget?.inputs.notifications as Record<string, unknown>[];
    expect(alarms.map((alarm) => [alarm.notificationType, alarm.threshold])).toEqual([
      ["ACTUAL", 50],
      ["ACTUAL", 100],
      ["FORECASTED", 100],
    ]);
    for (const alarm of alarms) expect(alarm.subscriberEmailAddresses).toEqual(["infra@example.org"]);
  });

  test("leaves nothing after destroy: buckets are emptied, logs are a resource", () => {
    for (const { inputs } of ofType(asked, "Bucket")) expect(inputs.forceDestroy).toBe(true);
    expect(ofType(asked, "LogGroup")[0]?.inputs).toMatchObject({
      name: "/stagex/stagex",
      retentionInDays: 30,
    });
  });

  test("returns each builder's name, platforms, vendor and tunnel for the scheduler", async () => {
    expect(
      fleet.builders.map(({ name, platforms, vendor, slots }) => [name, platforms, vendor, slots]),
    ).toEqual([
      ["intel-1", ["linux/amd64", "linux/386"], "GenuineIntel", 4],
      ["intel-2", ["linux/amd64", "linux/386"], "GenuineIntel", 4],
      ["amd-1", ["linux/amd64", "linux/386"], "AuthenticAMD", 4],
      ["graviton-1", ["linux/arm64"], "ARM", 4],
    ]);
    const addresses = await Promise.all(fleet.builders.map(({ address }) => known<string>(address)));
    expect(addresses.map(({ value }) => value)).toEqual([
      "tcp://127.0.0.1:12340",
      "tcp://127.0.0.1:12341",
      "tcp://127.0.0.1:12390",
      "tcp://127.0.0.1:12440",
    ]);
    expect(fleet.builders.map(({ name }) => name)).toEqual(
      awsBuilders(awsFleetConfig.parse(everything)).map(({ name }) => name),
    );
    const [first] = fleet.builders;
    expect((await known(first?.tls?.key)).isSecret).toBe(true);
    expect(first?.tls?.serverName).toBe("intel-1.stagex.internal");
  });
});

test("returns the builders as another stack's configuration lists them", async () => {
  const { fleet } = await made(everything);
  const { value, isSecret } = await known<unknown>(toConfiguredBuilders(fleet.builders));
  expect(isSecret).toBe(false);
  expect(configuredBuilders.parse(value)).toHaveLength(4);
  expect(value).toContainEqual(
    expect.objectContaining({
      name: "graviton-1",
      address: "tcp://127.0.0.1:12440",
      memory: 62,
      machine: "m8g.4xlarge",
      tls: expect.objectContaining({ serverName: "graviton-1.stagex.internal" }),
    }),
  );
});

test("sums up machines by the hour and disks by the month, if all prices are known", async () => {
  const prices = { date: "2026-03-01", currency: "USD", storagePerGiBMonth: 0.5 };
  const config = awsFleetConfig.parse({ builders: { intel: 2, amd: 1 } });
  const perHour = { "m8i.4xlarge": 2, "m8a.4xlarge": 3 };
  expect(await reportFleetCost(config, { ...prices, perHour })).toEqual({
    ...{ perHour: 7, perMonth: 3 * 400 * 0.5, currency: "USD", pricesOf: "2026-03-01" },
  });
  const some = await reportFleetCost(config, { ...prices, perHour: { "m8i.4xlarge": 2 } });
  expect(some.perHour).toBeUndefined();
});

describe("the build port", () => {
  async function openings(
    reach: string,
  ): Promise<{ ports: Asked[]; address: string; orchestrators: unknown }> {
    const { asked, fleet } = await made({ reach });
    const { value } = await known<string>(fleet.builders[0]?.address);
    const ports = asked.filter(({ name }) => name === "stagex-build-port");
    return { ports, address: value, orchestrators: fleet.orchestrators };
  }

  test("opens to the machines of a security group", async () => {
    const { ports, address, orchestrators } = await openings("group");
    expect(
      ports.map(({ inputs }) => [inputs.fromPort, inputs.toPort, inputs.referencedSecurityGroupId]),
    ).toEqual([[1234, 1234, "stagex-orchestrators-id"]]);
    expect(ports[0]?.inputs).not.toHaveProperty("cidrIpv4");
    expect(address).toBe("tcp://10.60.0.10:1234");
    expect(orchestrators).toBeDefined();
  });

  test("opens to one address", async () => {
    const { ports } = await openings("10.0.0.7/32");
    expect(ports.map(({ inputs }) => [inputs.fromPort, inputs.toPort, inputs.cidrIpv4])).toEqual([
      [1234, 1234, "10.0.0.7/32"],
    ]);
  });

  test("refuses to open to more than one address", () => {
    for (const reach of ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.7", "10.0.0.7/31", "everybody"])
      expect(awsFleetConfig.safeParse({ reach }).success, reach).toBe(false);
  });
});

test("stops spot instances that AWS takes back, so that they can be started again", async () => {
  const { asked } = await made({ spot: true });
  for (const { inputs } of ofType(asked, "LaunchTemplate")) {
    expect(inputs.instanceMarketOptions).toMatchObject({
      marketType: "spot",
      spotOptions: { spotInstanceType: "persistent", instanceInterruptionBehavior: "stop" },
    });
  }
});

test("shares no cache between builders by default", async () => {
  const { asked } = await made({ sharedCache: true });
  const reads = statements(asked, "RolePolicy")
    .filter(({ of, Action }) => of === "stagex-amd-1" && list(Action).includes("s3:GetObject"))
    .flatMap(({ Resource }) => list(Resource));
  expect(reads).toContainEqual(expect.stringMatching(/stagex-cache\/builders\/\*$/));
});

test("leaves other builders unchanged when one is added", async () => {
  const small = await made({ builders: { intel: 1, amd: 1 }, zones: ["a", "b"] });
  const large = await made({ builders: { intel: 3, amd: 1 }, zones: ["a", "b"] });
  const of = ({ asked }: { asked: Asked[] }) => asked.filter(({ name }) => name.startsWith("stagex-amd-1"));
  expect(of(large)).toEqual(of(small));
});

test("replaces certificates when a period ends, and not before", async () => {
  const generation = async (date: string): Promise<unknown> => {
    const { asked } = await made({ rotateDays: 30 }, new Date(date));
    return ofType(asked, "Authority")[0]?.inputs;
  };
  const first = await generation("2026-03-01");
  expect(await generation("2026-03-02")).toEqual(first);
  expect(await generation("2026-03-31")).not.toEqual(first);
  expect(first).toMatchObject({ days: 60 });
});

test("creates no disk with an instance store, and uses the machine's own", async () => {
  const { asked } = await made({ disk: "instance-store", families: { intel: "m8id" } });
  expect(asked.filter(({ type }) => /:(Volume|VolumeAttachment)$/.test(type))).toEqual([]);
  expect(String(ofType(asked, "Instance")[0]?.inputs.userData)).toContain(
    "CACHE_DEVICE='nvme-Amazon_EC2_NVMe_Instance_Storage_*'",
  );
});

/** The machines of a plan, in lines that a person reads. */
function machinesOf(asked: readonly Asked[]): string[] {
  const disks = new Map(ofType(asked, "Volume").map(({ name, inputs }) => [name, inputs]));
  return ofType(asked, "LaunchTemplate")
    .map(({ name, inputs }) => {
      const disk = disks.get(`${name}-cache`);
      return `${name} ${inputs.instanceType}, ${disk?.size} GiB ${disk?.type}`;
    })
    .sort();
}

test.for(Object.keys(builderSizes))("the plan of a %s fleet", async (size) => {
  const { asked } = await made({ size });
  expect([...machinesOf(asked), `${asked.length} resources`].join("\n")).toMatchSnapshot();
});

test("the plan of one Graviton, without a registry, resource by resource", async () => {
  const { asked } = await made({ registry: false, builders: { intel: 0, amd: 0, graviton: 1 } });
  const counts = Map.groupBy(asked, ({ type }) => type.split(":").at(-1) ?? type);
  const lines = [...counts].map(([type, { length }]) => `${type} ${length}`).sort();
  expect([...machinesOf(asked), ...lines].join("\n")).toMatchSnapshot();
});
