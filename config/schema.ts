import { closest } from "fastest-levenshtein";
import { z } from "zod";
import { pricesSchema } from "../distro/plan/cost.ts";
import { printable } from "../lib/text/printable.ts";
import { awsFleetConfig } from "./aws-fleet.ts";
import { configuredBuilders } from "./builders.ts";
import { type CheckFailure, toCheckFailures } from "./check-failures.ts";
import { checkRenamedKeys, givenName, withNewNames } from "./renamed-keys.ts";
import {
  count,
  flag,
  fromText,
  list,
  namespace,
  network,
  registries,
  registry,
  signingKey,
  structured,
} from "./value-parsers.ts";
import { vaultPlaces } from "./vault.ts";

/** The stacks of the project's program. */
export const stackNames = ["reproduce", "release", "fleet"] as const;
export type StackName = (typeof stackNames)[number];

const verifyMode = z.enum(["release", "all"]);
/** The images that must have their published digests. */
export type VerifyMode = z.infer<typeof verifyMode> | false;

/**
 * The keys of the `stagex:` configuration. Pulumi passes each of them as text to the program and to
 * the provider, so both parse them with this one schema. Lists and numbers are written as JSON.
 */
export const configShape = {
  stack: z
    .enum(stackNames, { error: 'expected "reproduce", "release" or "fleet"' })
    .optional()
    .describe("The stack to deploy: `reproduce` (default), `release` or `fleet`."),
  tree: z
    .string()
    .min(1)
    .default("examples/seed-tree")
    .describe("The StageX tree: a folder, or a git URL with `#` and a full commit or a tag."),
  authenticate: structured(
    z.strictObject({
      maintainers: z.string().min(1),
      keys: z.string().min(1),
      since: z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, { error: "not a full commit" }),
    }),
    '{"maintainers":"trusted/MAINTAINERS","keys":"trusted/keys","since":"<full commit>"}',
  )
    .optional()
    .describe(
      "The signature that a tree from git must have. Someone in `maintainers` must have signed its tag or commit, with one of `keys`. The commit must descend from `since`, the first commit that you trust. Default: not checked.",
    ),
  images: list("core-*")
    .optional()
    .describe(
      "The images to build, by name, short name or glob, with everything they are built from. `!core-llvm` leaves out an image and everything built from it. Default: all images.",
    ),
  platforms: list("linux/amd64")
    .default(["linux/amd64"])
    .describe("The platforms of packages that name no `platforms` of their own."),
  verify: fromText(z.union([z.boolean(), verifyMode]), '"release", "all" or false')
    .transform((value): VerifyMode => (value === true ? "all" : value))
    .default("release")
    .describe(
      "The images that must have the digest that the tree publishes; another digest fails the image. `release`: images with the inputs of that digest, and those whose inputs cannot be compared; all others count as new. `all`: every image, which proves a release. `false`: only images that are known to have these inputs.",
    ),
  sources: structured(
    z.strictObject({ httpsOnly: z.boolean().default(false), softwareHeritage: z.boolean().default(true) }),
    '{"httpsOnly":true}',
  )
    .default({ httpsOnly: false, softwareHeritage: true })
    .describe(
      "The fetching of sources. `httpsOnly` asks no mirror over http; otherwise an http mirror is asked over https first, and the hash protects the bytes. `softwareHeritage`, on by default, asks that archive by sha256 for a source that no other place has.",
    ),
  vault: structured(vaultPlaces, '[{"folder":"/srv/vault"}]')
    .optional()
    .describe(
      "Places that hold sources by sha256: a JSON list of {folder}, {url} (an https server with the same files) or {registry} (an OCI repository). Each takes `asked`: `before` the mirrors, the default, or `after` them. `stagex fetch --push` fills folders and registries whose `push` is not false. Default: none.",
    ),
  rebuild: list("core-*")
    .optional()
    .describe(
      "The images that every run rebuilds, without cache, and compares with the ledger's record of the same inputs, by name, short name or glob. Default: none.",
    ),
  network: network()
    .default({ mode: "record", private: [], fetchers: {} })
    .describe(
      "The network access of RUN steps that fetch. `record` answers from a fetch record, or makes one if there is none. `replay` answers from records only. `none` answers nothing. Or a JSON table {mode?, hosts?, private?, fetchers?}: the hosts that may be asked, by name or glob; those of them on private networks; and further commands that fetch, by image name or glob.",
    ),
  substitute: list("core-*")
    .optional()
    .describe(
      "The images to pull by digest instead of building, by name or glob, if a trusted digest of them is known. Default: none.",
    ),
  substituteFrom: registries()
    .optional()
    .describe(
      "The registries to pull from, such as `docker.io/stagex`: one, or a JSON list in the order to ask. An image that none of them has is built.",
    ),
  substituteTrust: z
    .enum(["ledger", "release", "quorum"], { error: 'expected "ledger", "release" or "quorum"' })
    .default("ledger")
    .describe(
      "The evidence that replaces a build. `ledger`: any record in the ledger. `release`: also the tree's published digests, for pulling. `quorum`: only this state folder's own builds, and published digests that enough maintainers have signed. Evidence counts for exactly the image's inputs: changed inputs are built.",
    ),
  buildkit: z
    .string()
    .min(1)
    .optional()
    .describe("The address of a BuildKit daemon. Default: $BUILDKIT_HOST, else a private daemon is started."),
  cache: flag()
    .default(true)
    .describe(
      "Lets builds use their daemon's cache. Set it to false to attest builds of a daemon that others use: builders with a shared cache are one witness.",
    ),
  jobs: count().optional().describe("The number of images to build at once."),
  builders: structured(configuredBuilders, '[{"name":"west","address":"tcp://192.0.2.1:1234"}]')
    .optional()
    .describe(
      "The machines to build on: a JSON list of {name, address, platforms?, slots?, memory?, vendor?, tls?}.",
    ),
  localBuilders: count()
    .optional()
    .describe("The number of private daemons to build with, each with its own cache."),
  reproduceOn: list("AuthenticAMD")
    .optional()
    .describe(
      "CPU vendors or builders' names. Every image is built once on each of them, and all digests must be equal.",
    ),
  fleetRegistry: registry()
    .optional()
    .describe(
      "A registry through which builders on other machines get each other's images where that is cheaper than sending them. Builders read from it without logging in. Default: none.",
    ),
  prices: structured(
    pricesSchema,
    '{"date":"2026-03-01","currency":"USD","perHour":{"m8i.4xlarge":0.9},"storagePerGiBMonth":0.08}',
  )
    .optional()
    .describe(
      "The prices of machines, and the date you looked them up. A preview then shows the cost of the run on fleets of several sizes.",
    ),
  stall: fromText(z.number().positive().max(10_000), "a number of minutes")
    .default(90)
    .describe(
      "Minutes without output after which a build is stopped on its builder and tried on another one.",
    ),
  attest: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, {
      error: "not a person's id in MAINTAINERS (expected an id such as ash)",
    })
    .optional()
    .describe(
      "The maintainer who attests the stack's own builds: a person's id in MAINTAINERS. Default: no one.",
    ),
  signingKey: signingKey()
    .optional()
    .describe("The maintainer's key: its fingerprint, for gpg-agent, or the path of a key file."),
  maintainers: z
    .string()
    .min(1)
    .optional()
    .describe("The roster: a file in the format of StageX's MAINTAINERS. Default: the tree's own."),
  keys: z
    .string()
    .min(1)
    .optional()
    .describe(
      "The maintainers' public keys: a folder, or a file from gpg --export. Default: the tree's `keys`.",
    ),
  signatures: z
    .string()
    .min(1)
    .optional()
    .describe("The lookaside: a folder, `https://…` or `file://…`. Default: `.stagex/signatures`."),
  signedAs: namespace()
    .default("stagex")
    .describe("The images' name in signatures: the part before `/<image>:<version>`."),
  threshold: count()
    .default(2)
    .describe("The number of people who must sign an image before it is published."),
  vendors: count(0)
    .default(2)
    .describe(
      "The number of CPU vendors on whose machines they must build it, each counted for another person.",
    ),
  onPending: z
    .enum(["fail", "wait", "defer"], { error: 'expected "fail", "wait" or "defer"' })
    .default("fail")
    .describe(
      "The outcome for an image below quorum. `fail`: it fails. `wait`: the run waits for its signatures. `defer`: it is left for later, and listed. In no case is it published.",
    ),
  wait: fromText(z.number().min(0).max(100_000), "a number of minutes")
    .default(60)
    .describe(
      "With `onPending` `wait`: the minutes that a run waits for signatures, for all images together.",
    ),
  release: z
    .string()
    .regex(/^[\w.-]{1,126}$/, { error: "not a release's name (expected a name such as 2026.03.0)" })
    .optional()
    .describe(
      "The release's name, such as `2026.03.0`, for the tag `sx2026.03.0`. Default: the tree's own, if it is known.",
    ),
  clientPolicy: z
    .string()
    .min(1)
    .optional()
    .describe(
      "A folder, relative to the project, for policy.json, keyrings and registries.d: with them, clients pull only signed images. Default: none.",
    ),
  aws: structured(awsFleetConfig, '{"ami":{"amd64":"ami-0123456789abcdef0"}}')
    .optional()
    .describe("A fleet on AWS, for the stack `fleet`. All keys but `ami` have a default."),
  publishTo: registries()
    .optional()
    .describe(
      "The registries that the release stack publishes to, such as `docker.io/stagex`: one, or a JSON list. Credentials come from the docker config and its helpers.",
    ),
  attach: fromText(
    z.array(z.enum(["provenance", "sbom"])),
    `a JSON list such as '["provenance","sbom"]', or '[]'`,
  )
    .default(["provenance", "sbom"])
    .describe(
      "The statements to put beside each published image: how it was built (SLSA provenance), and from what (SPDX SBOM). Known ones go to its registry, and signed ones to `publishSignaturesTo`.",
    ),
  publishSignaturesTo: z
    .string()
    .min(1)
    .refine((text) => !/^[a-z]+:\/\//.test(text), {
      error: "not a folder; signatures are written to folders only",
    })
    .optional()
    .describe(
      "A folder, relative to the project, for copies of the signatures of published images, and of signed statements about them. Default: none.",
    ),
} as const;

const schema = z
  .strictObject(configShape)
  .refine(({ substitute, substituteFrom }) => !substitute || substituteFrom, {
    path: ["substituteFrom"],
    error: "is not set, but stagex:substitute needs a registry to pull from, such as docker.io/stagex",
  });
export type StagexConfig = z.infer<typeof schema>;
export type ConfigKey = keyof typeof configShape;

/** The `stagex:` configuration as Pulumi passes it, by key. */
export type ConfigValues = Readonly<Record<string, unknown>>;

/**
 * Checks the configuration, and returns a failure for each key that is wrong, under the name that
 * it was given.
 */
export function checkConfig(values: ConfigValues): CheckFailure[] {
  const configured = withoutEngineKeys(values);
  const result = schema.safeParse(withNewNames(configured));
  const failures = result.success ? [] : toCheckFailures(result.error).map(withNearestKey);
  const underGivenNames = failures.map(({ property, reason }) => ({
    property: givenName(configured, property),
    reason,
  }));
  return [...checkRenamedKeys(configured), ...underGivenNames];
}

/**
 * Parses the configuration, under the keys' new names.
 * @throws Error that names every key that is wrong
 */
export function parseConfig(values: ConfigValues): StagexConfig {
  const failures = checkConfig(values);
  if (failures.length === 0) return schema.parse(withNewNames(withoutEngineKeys(values)));
  const lines = failures.map(({ property, reason }) => printable`  stagex:${property}: ${reason}`);
  throw new Error(
    `the configuration cannot be used:\n${lines.join("\n")}\nChange a key with: pulumi config set stagex:KEY VALUE`,
  );
}

function withNearestKey(failure: CheckFailure): CheckFailure {
  const [key = ""] = failure.property.split(/[.[]/, 1);
  if (key in configShape) return failure;
  const nearest = closest(failure.property, Object.keys(configShape));
  return { ...failure, reason: `no such key; the nearest is stagex:${nearest}` };
}

/** Leaves out the provider's own version and address, which the engine adds. */
function withoutEngineKeys(values: ConfigValues): ConfigValues {
  const { version: _version, pluginDownloadURL: _url, ...configured } = values;
  return configured;
}
