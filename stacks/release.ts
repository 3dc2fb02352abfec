import { dirname } from "node:path";
import { all, type Output, recover } from "@pulumi/pulumi";
import { invoke } from "@pulumi/pulumi/runtime/index.js";
import { Release, type ReleaseArgs } from "../components/release.ts";
import type { StagexConfig } from "../config/schema.ts";
import { selectImages } from "../distro/image-names.ts";
import { lookUpOwnFirst } from "../distro/plan/predict-digests.ts";
import { PublishedInputs } from "../distro/published/published-inputs.ts";
import { findPublishedTree } from "../distro/published/published-tree.ts";
import type { Tree } from "../distro/tree/tree.ts";
import { findTreeRelease } from "../distro/tree/tree-release.ts";
import { type Paths, pathsOf } from "../lib/paths.ts";
import { printable, printableBlock, printableLines } from "../lib/text/printable.ts";
import type { Digest } from "../oci/digest.ts";
import { Store } from "../oci/store/store.ts";
import { openLedgers } from "../pipeline/context/open-ledgers.ts";
import { readConfiguredTree } from "../pipeline/context/open-tree.ts";
import { openLookaside, readConfiguredTrust } from "../pipeline/context/open-trust.ts";
import { firstManifestFinder } from "../pipeline/package/published-status.ts";
import { type QuorumSummaryOutputs, quorumSummaryOutputs } from "../pipeline/quorum/summary-outputs.ts";
import { ClientPolicy } from "../providers/stagex/resources/client-policy/resource.ts";
import type { Publication } from "../providers/stagex/resources/publication/resource.ts";
import type { Quorum } from "../providers/stagex/resources/quorum/resource.ts";
import { silenceFailedOutputs } from "../pulumi-workarounds/dependency-failure.ts";
import type { Keyring } from "../trust/openpgp/keyring.ts";
import { parseRepository } from "../trust/signatures/image-reference.ts";
import { LookasideFolder } from "../trust/signatures/lookaside-folder.ts";
import { logToEngine } from "./engine-log.ts";
import { type DigestSources, findReleasableImages } from "./releasable-images.ts";
import { readStackConfig } from "./stack-config.ts";

/** The outputs of the release stack. */
export type ReleaseOutputs = {
  /** What each unpublished image lacks, as text, by name. */
  readonly pending: Output<Record<string, string>>;
  /** The manifest digests of the images at quorum, by name. */
  readonly verified: Output<Record<string, string>>;
  /** The published images, each with its tags and their digests. */
  readonly published: Output<Record<string, Record<string, string>>>;
  /** The images that were at quorum and no longer are. */
  readonly fallen: Output<string[]>;
  /** The fewest signatures that bring all images of this run to quorum. */
  readonly missingSignatures: Output<number>;
};

/**
 * Publishes the chosen images of a tree that enough maintainers have signed, and reports what the
 * others lack.
 */
export async function release(): Promise<ReleaseOutputs> {
  const [config, paths] = [readStackConfig(), pathsOf()];
  const tree = await readConfiguredTree(config, paths);
  const chosen = selectImages(tree.images, config.images);
  const { released, unreleased } = await findReleasableImages(
    tree.images,
    chosen,
    await digestSources(config, paths, tree),
  );
  const { rosterDigest, rule, keyring } = await readConfiguredTrust(config, paths, tree.root);
  await warnOfSkippedKeys(keyring);
  const lookaside = await openLookaside(config, paths);
  // Checked once, instead of by each image's quorum.
  if (lookaside instanceof LookasideFolder) await lookaside.requireFolder();
  const { quorums, publications } = new Release("release", {
    images: released,
    signedAs: config.signedAs,
    lookaside,
    roster: rosterDigest,
    ...rule,
    onPending: config.onPending,
    ...(config.onPending === "wait" ? { wait: config.wait * 60 } : {}),
    ...(await destination(config, tree.root)),
  });
  const unknown = Object.fromEntries(unreleased.map(({ name, reason }) => [name, reason]));
  writePolicy(config, rosterDigest);
  const summary = summarized([...quorums.values()], unknown);
  return {
    pending: pendingOf(quorums, summary, unknown),
    verified: verifiedOf(quorums),
    published: publishedOf(publications),
    fallen: summary.apply(({ fallen }) => fallen),
    missingSignatures: summary.apply(({ signatures }) => signatures),
  };
}

/**
 * Warns of files among the keys that are left out. A possible revocation also blocks the quorums
 * that depend on its key.
 */
async function warnOfSkippedKeys(keyring: Keyring): Promise<void> {
  if (keyring.certificates.size === 0)
    await logToEngine(
      "warning",
      printable`no keys were found, so no signature counts: pulumi config set stagex:keys PATH`,
    );
  const warnings = keyring.warnings();
  if (warnings.length === 0) return;
  const lines = warnings.map((words) => printable`  ${words}`);
  await logToEngine("warning", printableLines([printable`of the files among the keys:`, ...lines]));
}

/**
 * Returns the destination of the release; none without `stagex:publishTo`: then the stack reports
 * what it could publish.
 */
async function destination(
  { publishTo, publishSignaturesTo: lookaside, release: name }: StagexConfig,
  root: string,
): Promise<Pick<ReleaseArgs, "publish">> {
  if (publishTo === undefined) return {};
  const known = name ?? (await findTreeRelease(root));
  return {
    publish: {
      destinations: [...publishTo],
      ...(lookaside === undefined ? {} : { lookaside }),
      ...(known === undefined ? {} : { release: known }),
    },
  };
}

/**
 * Writes the policy for clients of the first registry. The signatures are for the name that the
 * images are signed as.
 */
function writePolicy({ clientPolicy: folder, ...config }: StagexConfig, roster: Digest): void {
  if (folder === undefined) return;
  const signedAs = namespaceOf(config.signedAs);
  const repository = config.publishTo?.[0] ?? signedAs;
  const policy = new ClientPolicy("policy", {
    ...{ folder, repository, signedAs, roster },
    lookaside: config.publishSignaturesTo ?? config.signatures ?? ".stagex/signatures",
    threshold: config.threshold,
  });
  silenceFailedOutputs(policy);
}

/** Adds the registry's host, as clients compare names: `stagex` is `docker.io/stagex`. */
function namespaceOf(signedAs: string): string {
  return dirname(parseRepository(`${signedAs}/image`));
}

async function digestSources(config: StagexConfig, paths: Paths, tree: Tree): Promise<DigestSources> {
  const ledgers = openLedgers(config, paths);
  const store = await Store.open(paths.store);
  return {
    ...{ published: tree.digests, furtherPublished: tree.furtherDigests },
    ...(config.verify === "all" ? {} : { standings: standingsIn(config, tree, store) }),
    built: async (key) => (await ledgers.built.lookUp(key)).digests,
    ledger: (key) => lookUpOwnFirst(ledgers, key),
    stored: (manifest, platforms) => store.find(manifest, platforms),
  };
}

function standingsIn(
  { platforms, verify }: StagexConfig,
  tree: Tree,
  store: Store,
): Required<DigestSources>["standings"] {
  return async (references) => {
    const published = new PublishedInputs(tree, await findPublishedTree(tree, { platforms }));
    const standings = await published.statuses(
      references,
      firstManifestFinder(async () => store),
    );
    if (verify !== false) return standings;
    // Only images that are known to have the published inputs are compared.
    const isTold = (image: string) => published.doubt(image) === undefined;
    return new Map([...standings].map(([image, one]) => [image, isTold(image) ? one : "changed"]));
  };
}

/**
 * Returns the provider's summary of this run, once it has handled every quorum. Shows a warning if
 * images are pending.
 */
function summarized(
  quorums: readonly Quorum[],
  unknown: Readonly<Record<string, string>>,
): Output<QuorumSummaryOutputs> {
  return all(quorums.map(({ urn }) => recover<string | undefined>(urn, () => undefined))).apply(async () => {
    const found = quorumSummaryOutputs.parse(await invoke("stagex:index:quorums", {}));
    const cannot = Object.entries(unknown).map(
      ([image, reason]) => printable`${image} cannot be released: ${reason}`,
    );
    const below = Object.keys(found.pending).length > 0 ? [printableBlock(found.text)] : [];
    if (cannot.length + below.length > 0) await logToEngine("warning", printableLines([...cannot, ...below]));
    return found;
  });
}

function pendingOf(
  quorums: ReadonlyMap<string, Quorum>,
  summary: Output<QuorumSummaryOutputs>,
  unknown: Readonly<Record<string, string>>,
): Output<Record<string, string>> {
  const words = [...quorums].map(([image, { met, words }]) => {
    const own = all([met, words]).apply(([isMet, said]) => (isMet ? undefined : said));
    // A quorum that failed is only in the provider's summary.
    return [image, recover<string | undefined>(own, () => undefined)] as const;
  });
  return all([all(Object.fromEntries(words)), summary]).apply(([said, { pending }]) => ({
    ...unknown,
    ...given(said),
    ...pending,
  }));
}

function verifiedOf(quorums: ReadonlyMap<string, Quorum>): Output<Record<string, string>> {
  const digests = [...quorums].map(
    ([image, { verified }]) => [image, recover<string | undefined>(verified, () => undefined)] as const,
  );
  return all(Object.fromEntries(digests)).apply(given);
}

function publishedOf(
  publications: ReadonlyMap<string, Publication>,
): Output<Record<string, Record<string, string>>> {
  const tags = [...publications].map(([image, { published, tags }]) => {
    const own = all([published, tags]).apply(([isPublished, set]) => (isPublished ? set : undefined));
    return [image, recover<Record<string, string> | undefined>(own, () => undefined)] as const;
  });
  return all(Object.fromEntries(tags)).apply(given);
}

function given<Value>(table: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(table).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
