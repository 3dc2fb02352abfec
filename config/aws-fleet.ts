import { z } from "zod";

/**
 * The sizes of builders: EC2's name of the size, and what follows from it. The memory is that of
 * the families named `m`.
 */
export const builderSizes = {
  small: { suffix: "2xlarge", cpus: 8, gib: 32, cacheGib: 200, slots: 2 },
  medium: { suffix: "4xlarge", cpus: 16, gib: 64, cacheGib: 400, slots: 4 },
  large: { suffix: "8xlarge", cpus: 32, gib: 128, cacheGib: 800, slots: 8 },
} as const;
export type BuilderSize = keyof typeof builderSizes;

export type Architecture = "amd64" | "arm64";

/** The machines with CPUs of one vendor. */
export type AwsMachine = {
  readonly architecture: Architecture;
  /** As builder facts name it. */
  readonly cpuVendor: string;
  /**
   * The platforms that they run, their own first. Graviton's cores run neither 32-bit Arm nor x86.
   */
  readonly platforms: readonly string[];
};

/**
 * The vendors of EC2's CPUs. All of its arm64 is Graviton: two vendors for arm64 need a builder
 * from elsewhere.
 */
export const awsVendors = ["intel", "amd", "graviton"] as const;
export type AwsVendor = (typeof awsVendors)[number];

export const awsMachines: Readonly<Record<AwsVendor, AwsMachine>> = {
  intel: { architecture: "amd64", cpuVendor: "GenuineIntel", platforms: ["linux/amd64", "linux/386"] },
  amd: { architecture: "amd64", cpuVendor: "AuthenticAMD", platforms: ["linux/amd64", "linux/386"] },
  graviton: { architecture: "arm64", cpuVendor: "ARM", platforms: ["linux/arm64"] },
};

/** The buckets in S3, by what they keep. */
export const bucketKinds = ["programs", "images", "signatures", "sources", "ledger", "cache"] as const;
export type BucketKind = (typeof bucketKinds)[number];

const machines = z.int().min(0).max(50);
const family = z.string().regex(/^[a-z]+\d+[a-z-]*$/, { error: 'not an instance family, such as "m8i"' });
const folder = z.string().min(1);
const ami = z
  .string()
  .regex(/^ami-[0-9a-f]+$/, { error: 'not an image of EC2, such as "ami-0123456789abcdef0"' });
const hostAddress = z.ipv4().transform((address) => `${address}/32` as const);
const host = z
  .string()
  .regex(/\/32$/)
  .transform((text) => text.slice(0, -"/32".length))
  .pipe(hostAddress);

/** The key `stagex:aws`: machines on EC2, and what they need around them. */
export const awsFleetConfig = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,19}$/, { error: "expected up to 20 lower-case letters, digits and hyphens" })
    .default("stagex")
    .describe("The name and tag of all resources. Each fleet in an account needs its own."),
  region: z
    .string()
    .regex(/^[a-z]{2}-[a-z]+-\d$/, { error: 'not a region, such as "us-east-2"' })
    .default("us-east-2")
    .describe("The region. Not every region has the newest instances of all three vendors."),
  zones: z
    .array(z.string().regex(/^[a-f]$/))
    .min(1)
    .max(3)
    .default(["a"])
    .describe("The letters of availability zones. Builders are spread over them in turn."),
  builders: z
    .strictObject({ intel: machines.default(1), amd: machines.default(1), graviton: machines.default(0) })
    .prefault({})
    .refine((counts) => Object.values(counts).some((count) => count > 0), { error: "asks for no builder" })
    .describe("The number of builders of each vendor. A quorum needs two vendors by default."),
  size: z
    .enum(["small", "medium", "large"])
    .default("medium")
    .describe("The size of each builder: 8, 16 or 32 virtual CPUs, with 32, 64 or 128 GiB."),
  families: z
    .strictObject({
      intel: family.default("m8i"),
      amd: family.default("m8a"),
      graviton: family.default("m8g"),
    })
    .prefault({})
    .describe("EC2's instance families. Those with a `d` have an instance store."),
  spot: z
    .boolean()
    .default(false)
    .describe(
      "Uses spot instances: cheaper, but AWS stops them when it needs them. New accounts may start only a few.",
    ),
  disk: z
    .enum(["gp3", "instance-store"])
    .default("gp3")
    .describe(
      "The disk of BuildKit's cache. `gp3` outlives the machine; `instance-store` is lost when the machine stops.",
    ),
  diskGib: z.int().min(30).max(16384).optional().describe("The size of the gp3 disk. Default: by `size`."),
  reach: z
    .union([z.enum(["ssm", "group"]), host], {
      error: 'expected "ssm", "group", or one address such as "10.0.0.7/32"',
    })
    .default("ssm")
    .describe(
      "Access to the build port: through Systems Manager only (`ssm`), from machines in a security group of its own (`group`), or from one address.",
    ),
  localPort: z
    .int()
    .min(1024)
    .max(60000)
    .default(12340)
    .describe("With `ssm`: the first local port of the tunnels, on the client's machine."),
  running: z.boolean().default(true).describe("Set it to false to stop all builders. Their caches stay."),
  idleMinutes: z
    .int()
    .min(0)
    .max(1440)
    .default(30)
    .describe("Minutes without a connection after which a builder stops; 0 for never."),
  rotateDays: z
    .int()
    .min(1)
    .max(365)
    .default(30)
    .describe(
      "Days after which the next `up` makes a new authority and new certificates. They are valid for twice as long.",
    ),
  logDays: z
    .union([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365].map((days) => z.literal(days)))
    .default(30)
    .describe("Days that CloudWatch keeps the logs."),
  budget: z
    .strictObject({
      dollars: z.int().min(1).default(200).describe("Dollars a month, for the whole account."),
      email: z.email().optional().describe("The address that gets the alarms."),
    })
    .prefault({})
    .describe(
      "Alarms at half of the budget, at all of it, and when all of it is forecast. They stop nothing.",
    ),
  registry: z
    .boolean()
    .default(true)
    .describe("Lets ECR create repositories below `<name>/` when images are pushed."),
  sharedCache: z
    .boolean()
    .default(false)
    .describe(
      "Lets builders read each other's exported cache. They are then one witness, whatever their vendors.",
    ),
  keep: z
    .array(z.enum(bucketKinds))
    .default([])
    .describe("The buckets that `pulumi destroy` keeps, with their content."),
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .default({})
    .describe("Further tags on all resources."),
  ami: z
    .strictObject({ amd64: ami.optional(), arm64: ami.optional() })
    .default({})
    .describe(
      "The machine images that builders start from, by architecture: an Amazon Linux 2023 of the region.",
    ),
  programs: z
    .strictObject({ amd64: folder.optional(), arm64: folder.optional() })
    .default({})
    .describe(
      "The folders with `buildkitd` and `runc`, by architecture, relative to the project. Default for this machine's architecture: the set-up's own.",
    ),
});
export type AwsFleetConfig = z.infer<typeof awsFleetConfig>;

/** One builder of a fleet on AWS. */
export type AwsBuilder = {
  /** `intel-1`, `intel-2`, `amd-1`. */
  readonly name: string;
  readonly vendor: AwsVendor;
  /** From 1, for each vendor. */
  readonly number: number;
};

/** Returns the builders that a configuration asks for. */
export function awsBuilders({ builders }: Pick<AwsFleetConfig, "builders">): AwsBuilder[] {
  return awsVendors.flatMap((vendor) =>
    Array.from({ length: builders[vendor] }, (_, index) => ({
      ...{ name: `${vendor}-${index + 1}`, vendor, number: index + 1 },
    })),
  );
}

/** Returns the instance type of a vendor's builders: `m8i.4xlarge`. */
export function instanceType({ families, size }: AwsFleetConfig, vendor: AwsVendor): string {
  return `${families[vendor]}.${builderSizes[size].suffix}`;
}

/**
 * Returns the size of a builder on this instance type; undefined for a type that no fleet here
 * uses.
 */
export function sizeOfInstanceType(type: string): (typeof builderSizes)[BuilderSize] | undefined {
  return Object.values(builderSizes).find(({ suffix }) => type.endsWith(`.${suffix}`));
}
