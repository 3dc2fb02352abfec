import { z } from "zod";

/** The sizes of builders: what EC2 calls the size, and what follows from it. Memory is EC2's for the families named `m`. */
export const builderSizes = {
  small: { suffix: "2xlarge", cpus: 8, gib: 32, cacheGib: 200, slots: 2 },
  medium: { suffix: "4xlarge", cpus: 16, gib: 64, cacheGib: 400, slots: 4 },
  large: { suffix: "8xlarge", cpus: 32, gib: 128, cacheGib: 800, slots: 8 },
} as const;
export type BuilderSize = keyof typeof builderSizes;

/** Whose CPUs EC2 has. All of its arm64 is Graviton: two vendors for arm64 need a builder from elsewhere. */
export const awsVendors = ["intel", "amd", "graviton"] as const;
export type AwsVendor = (typeof awsVendors)[number];

/** Their CPUs as builder facts name them. */
export const cpuVendorIds: Readonly<Record<AwsVendor, string>> = {
  intel: "GenuineIntel",
  amd: "AuthenticAMD",
  graviton: "ARM",
};

/** Whose programs they run, their own first. Graviton's cores don't run 32-bit Arm, and nothing of x86. */
export const awsPlatforms: Readonly<Record<AwsVendor, readonly string[]>> = {
  intel: ["linux/amd64", "linux/386"],
  amd: ["linux/amd64", "linux/386"],
  graviton: ["linux/arm64"],
};

/** What is kept in S3, a bucket each. */
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

/** `stagex:aws`: machines on EC2, and what they need around them. */
export const awsFleetConfig = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,19}$/, { error: "expected up to 20 lower-case letters, digits and hyphens" })
    .default("stagex")
    .describe("What all resources are called and tagged with; another for each fleet in an account."),
  region: z
    .string()
    .regex(/^[a-z]{2}-[a-z]+-\d$/, { error: 'not a region, such as "us-east-2"' })
    .default("us-east-2")
    .describe("Where. Not every region has the newest instances of all three vendors."),
  zones: z
    .array(z.string().regex(/^[a-f]$/))
    .min(1)
    .max(3)
    .default(["a"])
    .describe("Letters of its availability zones; builders are spread over them in turn."),
  builders: z
    .strictObject({ intel: machines.default(1), amd: machines.default(1), graviton: machines.default(0) })
    .prefault({})
    .refine((counts) => Object.values(counts).some((count) => count > 0), { error: "asks for no builder" })
    .describe("How many of each vendor. Two vendors are what a quorum asks for by default."),
  size: z
    .enum(["small", "medium", "large"])
    .default("medium")
    .describe("8, 16 or 32 virtual CPUs a builder, with 32, 64 or 128 GiB."),
  families: z
    .strictObject({
      intel: family.default("m8i"),
      amd: family.default("m8a"),
      graviton: family.default("m8g"),
    })
    .prefault({})
    .describe("EC2's instance families. Those with a `d` bring an instance store."),
  spot: z
    .boolean()
    .default(false)
    .describe(
      "Spot instances: cheaper, and stopped by AWS when it wants them back. New accounts may start few.",
    ),
  disk: z
    .enum(["gp3", "instance-store"])
    .default("gp3")
    .describe(
      "Where BuildKit's cache is: a disk that outlives the machine, or the machine's own, lost when it stops.",
    ),
  diskGib: z.int().min(30).max(16384).optional().describe("Size of the gp3 disk; by `size` where not set."),
  reach: z
    .union([z.enum(["ssm", "group"]), host], {
      error: 'expected "ssm", "group", or one address such as "10.0.0.7/32"',
    })
    .default("ssm")
    .describe(
      "Who may reach the build port: nobody but through Systems Manager (ssm); machines in a security group made for them; one address.",
    ),
  localPort: z
    .int()
    .min(1024)
    .max(60000)
    .default(12340)
    .describe("With `ssm`: the first port of the tunnels' ends on the client's machine."),
  running: z.boolean().default(true).describe("False stops all builders, and keeps their caches."),
  idleMinutes: z
    .int()
    .min(0)
    .max(1440)
    .default(30)
    .describe("A builder that nobody is connected to for so long stops; 0 for never."),
  rotateDays: z
    .int()
    .min(1)
    .max(365)
    .default(30)
    .describe(
      "The first `up` after so many days makes a new authority and certificates; they are good for twice as long.",
    ),
  logDays: z
    .union([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365].map((days) => z.literal(days)))
    .default(30)
    .describe("How long CloudWatch keeps the logs."),
  budget: z
    .strictObject({
      dollars: z.int().min(1).default(200).describe("A month, for the whole account."),
      email: z.email().optional().describe("Who hears of it."),
    })
    .prefault({})
    .describe("An alarm at half, all, and the forecast of all of it. It stops nothing."),
  registry: z
    .boolean()
    .default(true)
    .describe("Let ECR make the repositories below `<name>/` that images are pushed to."),
  sharedCache: z
    .boolean()
    .default(false)
    .describe(
      "Builders read each other's exported cache. They are then one witness, whatever their vendors.",
    ),
  keep: z
    .array(z.enum(bucketKinds))
    .default([])
    .describe("Buckets that `pulumi destroy` leaves, with what is in them."),
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .default({})
    .describe("Further tags on all."),
  ami: z
    .strictObject({ amd64: ami.optional(), arm64: ami.optional() })
    .default({})
    .describe(
      "Machine images that builders start from, by architecture; an Amazon Linux 2023 of that region.",
    ),
  programs: z
    .strictObject({ amd64: folder.optional(), arm64: folder.optional() })
    .default({})
    .describe(
      "Folders with `buildkitd` and `runc` for an architecture, relative to the project; the set-up's own for this machine's where not set.",
    ),
});
export type AwsFleetConfig = z.infer<typeof awsFleetConfig>;

/** Names of a fleet's builders: `intel-1`, `intel-2`, `amd-1`. */
export function awsBuilderNames({ builders }: AwsFleetConfig): string[] {
  return awsVendors.flatMap((vendor) =>
    Array.from({ length: builders[vendor] }, (_, index) => `${vendor}-${index + 1}`),
  );
}

/** The instance type of a vendor's builders: `m8i.4xlarge`. */
export function instanceType({ families, size }: AwsFleetConfig, vendor: AwsVendor): string {
  return `${families[vendor]}.${builderSizes[size].suffix}`;
}

/** What a builder on a machine of this instance type is like; undefined for one that no fleet here has. */
export function sizeOfInstanceType(type: string): (typeof builderSizes)[BuilderSize] | undefined {
  return Object.values(builderSizes).find(({ suffix }) => type.endsWith(`.${suffix}`));
}
