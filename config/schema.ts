import { closest } from "fastest-levenshtein";
import { z } from "zod";
import { pricesSchema } from "../distro/plan/cost.ts";
import { printable } from "../lib/text/printable.ts";
import { parseRegistryAddress, type RegistryAddress } from "../oci/registry/registry-address.ts";
import { parseRepository } from "../trust/signatures/image-reference.ts";
import { awsFleetConfig } from "./aws-fleet.ts";
import { configuredBuilders } from "./builders.ts";
import type { CheckFailure } from "./check-failures.ts";
import { checkFailures } from "./check-failures.ts";
import { vaultPlaces } from "./vault.ts";

const verifyMode = z.enum(["release", "all"]);
/** Which images are held against their published digests. */
export type VerifyMode = z.infer<typeof verifyMode> | false;

/**
 * The keys of the `stagex:` configuration. Pulumi hands every one of them to the program and to the provider as text,
 * so both read them with this one schema; lists and numbers are written as JSON.
 */
export const configShape = {
  stack: z
    .string()
    .optional()
    .describe("Which of the project's stacks this is: reproduce, release or fleet."),
  tree: z
    .string()
    .min(1)
    .default("examples/seed-tree")
    .describe("A StageX tree: a folder, or a git URL with `#` and a full commit or a tag."),
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
      "Whose a tree from git must be: its tag, or its commit, signed by someone in `maintainers` with one of `keys`, and descended from `since`, the first commit that you trust. Not checked where not set.",
    ),
  images: list("core-*")
    .optional()
    .describe(
      "Which images, by name, short name or glob; with all that they are built from. `!core-llvm` leaves an image out, and what is built from it. All of them where not set.",
    ),
  platforms: list("linux/amd64")
    .default(["linux/amd64"])
    .describe("What packages without `platforms` of their own are built for."),
  verify: fromText(z.union([z.boolean(), verifyMode]), '"release", "all" or false')
    .transform((value): VerifyMode => (value === true ? "all" : value))
    .default("release")
    .describe(
      "Which images are held against the tree's published digests; another digest fails the image. `release`: those with the inputs that the digest was published of, or of which that can't be told; others count as new. `all`: every one, which proves a release. `false`: only those that are known to have these inputs.",
    ),
  sources: structured(
    z.strictObject({ httpsOnly: z.boolean().default(false), softwareHeritage: z.boolean().default(true) }),
    '{"httpsOnly":true}',
  )
    .default({ httpsOnly: false, softwareHeritage: true })
    .describe(
      "How sources are fetched. With `httpsOnly` no mirror is asked over http; otherwise an http mirror is asked over https first, and the hash guards the bytes. With `softwareHeritage`, the default, its archive is asked by sha256 for what no other place gave.",
    ),
  vault: structured(vaultPlaces, '[{"folder":"/srv/vault"}]')
    .optional()
    .describe(
      "Places that hold sources by sha256: a JSON list of {folder}, {url} (an https server with the same files) or {registry} (an OCI repository), each with `asked`: `before` the mirrors, the default, or `after` them. `stagex fetch --push` fills folders and registries that don't have `push` false. None where not set.",
    ),
  rebuild: list("core-*")
    .optional()
    .describe(
      "Which images every run builds anew, without cache, and compares with what the ledger has of the same inputs, by name, short name or glob. None where not set.",
    ),
  network: network()
    .default({ mode: "record", private: [], fetchers: {} })
    .describe(
      "How the RUNs that fetch get what they fetch: `record` answers from a fetch record where there is one, and makes one where there is none; `replay` answers from records alone; `none` answers nothing. Or a JSON table {mode?, hosts?, private?, fetchers?}: the hosts that may be asked, by name or glob; those among them that are on private networks; and by image, by name or glob, further commands that fetch.",
    ),
  substitute: list("core-*")
    .optional()
    .describe(
      "Which images are pulled by digest instead of built, by name or glob, where a trusted digest of theirs is known. None where not set.",
    ),
  registry: registries()
    .optional()
    .describe(
      "Where they are pulled from, such as `docker.io/stagex`; or a JSON list, asked in its order. What none of them has is built.",
    ),
  trust: z
    .enum(["ledger", "release", "quorum"], { error: 'expected "ledger", "release" or "quorum"' })
    .default("ledger")
    .describe(
      "Whose word is enough not to build an image: the ledger's, whoever wrote it; with `release`, that of the tree's published digests as well, to pull it; with `quorum`, only that of this state folder's own builders, and published digests that enough maintainers have signed. Any for exactly its inputs: what has changed since is built.",
    ),
  buildkit: z
    .string()
    .min(1)
    .optional()
    .describe("Address of a BuildKit daemon. Else $BUILDKIT_HOST, else a private daemon is started."),
  cache: flag()
    .default(true)
    .describe(
      "Whether a build may take steps from its daemon's cache. Set it to false for what is to be attested where others use the daemon too: who shares a cache is one witness.",
    ),
  jobs: count().optional().describe("How many images are built at once."),
  builders: structured(configuredBuilders, '[{"name":"west","address":"tcp://192.0.2.1:1234"}]')
    .optional()
    .describe(
      "The machines to build on: a JSON list of {name, address, platforms?, slots?, memory?, vendor?, tls?}.",
    ),
  localBuilders: count()
    .optional()
    .describe("How many private daemons to build with, each with a cache of its own."),
  reproduceOn: list("AuthenticAMD")
    .optional()
    .describe(
      "CPU vendors, or builders' names: every image is built once on each, and all must come out the same.",
    ),
  exchange: registry()
    .optional()
    .describe(
      "A registry through which builders on other machines have each other's images, where that is cheaper than being sent them; they read from it without logging in. None where not set.",
    ),
  prices: structured(
    pricesSchema,
    '{"date":"2026-03-01","currency":"USD","perHour":{"m8i.4xlarge":0.9},"storagePerGiBMonth":0.08}',
  )
    .optional()
    .describe(
      "What machines cost, and when you looked it up: a preview then says what the run costs on fleets of several sizes.",
    ),
  stall: fromText(z.number().positive().max(10_000), "a number of minutes")
    .default(90)
    .describe(
      "Minutes without any line of output after which a build is given up on its builder, and tried on another.",
    ),
  attest: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, { error: "not a person's id in MAINTAINERS (expected such as ash)" })
    .optional()
    .describe("Who attests what this stack has built: a person's id in MAINTAINERS. Nobody where not set."),
  signingKey: signingKey()
    .optional()
    .describe("Their key: its fingerprint, for gpg-agent, or the path of a file with it."),
  maintainers: z
    .string()
    .min(1)
    .optional()
    .describe("The roster: a file as StageX's MAINTAINERS; the tree's own where not set."),
  keys: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Their public keys: a folder, or a file that gpg --export wrote; the tree's `keys` where not set.",
    ),
  signatures: z
    .string()
    .min(1)
    .optional()
    .describe("The lookaside: a folder, `https://…` or `file://…`; `.stagex/signatures` where not set."),
  signedAs: namespace()
    .default("stagex")
    .describe("How signatures call the images: what stands before `/<image>:<version>`."),
  threshold: count().default(2).describe("How many people must have signed an image before it is published."),
  vendors: count(0)
    .default(2)
    .describe("On how many CPU vendors' machines they must have built it, each of them another person's."),
  onPending: z
    .enum(["fail", "wait", "defer"], { error: 'expected "fail", "wait" or "defer"' })
    .default("fail")
    .describe(
      "What becomes of an image below quorum: it fails; its signatures are waited for; or it is left for later, and listed. Published it is in no case.",
    ),
  wait: fromText(z.number().min(0).max(100_000), "a number of minutes")
    .default(60)
    .describe("With `onPending` `wait`: how many minutes a run waits for signatures, all images together."),
  release: z
    .string()
    .regex(/^[\w.-]{1,126}$/, { error: "not a release's name (expected such as 2026.03.0)" })
    .optional()
    .describe(
      "The release's name, `2026.03.0`, for the tag `sx2026.03.0`; the tree's own where it is known.",
    ),
  clientPolicy: z
    .string()
    .min(1)
    .optional()
    .describe(
      "A folder, relative to the project, for policy.json, keyrings and registries.d of those who pull what is published. None where not set.",
    ),
  aws: structured(awsFleetConfig, '{"ami":{"amd64":"ami-0123456789abcdef0"}}')
    .optional()
    .describe("A fleet on AWS, for the stack `fleet`: every key of it has a default but `ami`."),
  publish: registries()
    .optional()
    .describe(
      "Where the release stack publishes, such as `docker.io/stagex`; or a JSON list. Credentials come from the docker config and its helpers.",
    ),
  attach: fromText(
    z.array(z.enum(["provenance", "sbom"])),
    `a JSON list such as '["provenance","sbom"]', or '[]'`,
  )
    .default(["provenance", "sbom"])
    .describe(
      "What is laid beside each published image in its registry, where it is known, and in `lookaside`, where it is signed: how it was built (SLSA), and of what (SPDX).",
    ),
  lookaside: z
    .string()
    .min(1)
    .refine((text) => !/^[a-z]+:\/\//.test(text), {
      error: "not a folder; signatures are written to folders alone",
    })
    .optional()
    .describe(
      "A folder, relative to the project, to which the signatures of what is published are copied, and signed statements about it. Not copied where not set.",
    ),
} as const;

const schema = z.strictObject(configShape).refine(({ substitute, registry }) => !substitute || registry, {
  path: ["registry"],
  error: "is not set, but stagex:substitute needs to know where to pull from, such as docker.io/stagex",
});
export type StagexConfig = z.infer<typeof schema>;

/** The `stagex:` configuration as Pulumi hands it over, by key. */
export type ConfigValues = Readonly<Record<string, unknown>>;

/** What is wrong with the configuration: a failure for each key. */
export function checkConfig(values: ConfigValues): CheckFailure[] {
  const result = schema.safeParse(withoutEngineKeys(values));
  return result.success ? [] : checkFailures(result.error).map(withNearestKey);
}

/** The configuration, parsed; throws an error that names every key that is wrong. */
export function parseConfig(values: ConfigValues): StagexConfig {
  const problems = checkConfig(values);
  if (problems.length === 0) return schema.parse(withoutEngineKeys(values));
  const lines = problems.map(({ property, reason }) => printable`  stagex:${property}: ${reason}`);
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

/** The engine adds the provider's own version and address to what the user configured. */
function withoutEngineKeys(values: ConfigValues): ConfigValues {
  const { version: _version, pluginDownloadURL: _url, ...configured } = values;
  return configured;
}

/** A mode, or a table with one. */
function network() {
  const networkModes = ["record", "replay", "none"] as const;
  const mode = z.enum(networkModes, { error: `expected ${networkModes.join(", ")}` });
  const command = z
    .string()
    .regex(/^\S+(?: \S+)*$/, { error: "not a command (expected such as `make deps`)" });
  const table = z.strictObject({
    mode: mode.default("record"),
    hosts: z.array(z.string().min(1)).min(1).optional(),
    private: z.array(z.string().min(1)).default([]),
    fetchers: z.record(z.string().min(1), z.array(command).min(1)).default({}),
  });
  const parsed = structured(table, '{"mode":"replay"}');
  return z
    .unknown()
    .transform((value) => (networkModes.some((name) => name === value) ? { mode: value } : value))
    .pipe(parsed);
}

function list(example: string) {
  return fromText(z.array(z.string().min(1)).min(1), `a JSON list such as '["${example}"]'`);
}

function flag() {
  return fromText(z.boolean(), "true or false");
}

function count(least = 1) {
  return fromText(z.int().min(least).max(1000), `a whole number from ${least} to 1000`);
}

/** What a repository's name may begin with: `stagex`, or with a registry's host `registry.example/stagex`. */
function namespace() {
  return z.string().refine(
    (text) => {
      try {
        return parseRepository(`${text}/image`) !== undefined;
      } catch {
        return false;
      }
    },
    { error: "not what a repository begins with (expected such as stagex or registry.example/stagex)" },
  );
}

/** Names a key, and never is one: the configuration is written into Pulumi's state. */
function signingKey() {
  return z
    .string()
    .min(1)
    .max(4096)
    .refine((text) => !/PRIVATE KEY|\n/.test(text), {
      error:
        "this is a key, not the name of one; take it out of the configuration and its history, and set its fingerprint, or the path of a file",
    });
}

/** A table with a schema of its own, whose complaints keep their place in it. */
function structured<Known>(known: z.ZodType<Known>, example: string) {
  return z.unknown().transform((value, context): Known => {
    const parsed = typeof value === "string" ? jsonOr(value) : value;
    if (typeof parsed !== "object" || parsed === null) {
      context.addIssue({ code: "custom", message: `expected a JSON table such as '${example}'` });
      return z.NEVER;
    }
    const result = known.safeParse(parsed);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const unknownKeys = issue.code === "unrecognized_keys" ? issue.keys : [];
      for (const key of unknownKeys)
        context.addIssue({ code: "custom", path: [...issue.path, key], message: "no such key" });
      if (unknownKeys.length === 0)
        context.addIssue({ code: "custom", path: issue.path, message: issue.message });
    }
    return z.NEVER;
  });
}

function registry() {
  return z.unknown().transform((value, context): RegistryAddress => {
    try {
      return parseRegistryAddress(String(value));
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
}

/** One registry, or a list of them. */
function registries() {
  return z.unknown().transform((value, context): readonly RegistryAddress[] => {
    const listed = z
      .array(z.string())
      .min(1)
      .safeParse(typeof value === "string" ? jsonOr(value) : value);
    try {
      return (listed.data ?? [String(value)]).map(parseRegistryAddress);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  });
}

/** A value, or its JSON text. */
function fromText<Known>(known: z.ZodType<Known>, expected: string) {
  return z.unknown().transform((value, context): Known => {
    const result = known.safeParse(typeof value === "string" ? jsonOr(value) : value);
    if (result.success) return result.data;
    context.addIssue({ code: "custom", message: `found ${JSON.stringify(value)}, expected ${expected}` });
    return z.NEVER;
  });
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
