import pLimit, { type LimitFunction } from "p-limit";
import { expectedBuilders } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";
import { resolveImageNames } from "../../distro/image-names.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { type BuildEstimate, estimateBuilds, medianSeconds } from "../../distro/plan/build-durations.ts";
import { estimateMemory } from "../../distro/plan/build-memory.ts";
import { PublishedInputs } from "../../distro/published/published-inputs.ts";
import { findPublishedTree } from "../../distro/published/published-tree.ts";
import { findPublishingCommit } from "../../distro/published/release-import.ts";
import { openGitTree } from "../../distro/tree/git-tree.ts";
import { readTreeSource, type Tree } from "../../distro/tree/tree.ts";
import { type Paths, pathsOf } from "../../lib/paths.ts";
import type { Digest } from "../../oci/digest.ts";
import { Registry } from "../../oci/registry/registry.ts";
import type { RegistryAddress } from "../../oci/registry/registry-address.ts";
import { Store } from "../../oci/store/store.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import type { ToolName } from "../../tools/pinned-tools.ts";
import { keepStatePrivate } from "../../tools/private-state.ts";
import { provideTool, type Tool } from "../../tools/tool-resolver.ts";
import type { Lookaside } from "../../trust/signatures/lookaside.ts";
import { Fleet } from "../fleet/fleet.ts";
import { FleetRegistry } from "../fleet/fleet-registry.ts";
import type { Operation } from "../operation.ts";
import { QuorumSummary } from "../quorum/quorum-summary.ts";
import { type PredictedImage, predictedImageSchema } from "./known-digests.ts";
import { readConfiguredTree } from "./open-tree.ts";
import { type ConfiguredTrust, openLookaside, readConfiguredTrust } from "./open-trust.ts";
import { openVault } from "./open-vault.ts";
import { PreviewCache } from "./preview-cache.ts";
import { PreviewForecast } from "./preview-forecast.ts";
import { RunReport } from "./run-report.ts";
import { openSigningKey, requirePerson, Signer } from "./signer.ts";

/**
 * What packages are made with: the tree, the sources, a BuildKit daemon, the store and the ledger, shared by all of one
 * provider process. Each is opened when it is first asked for, so that an `up` that builds nothing starts no daemon.
 */
export class Context {
  readonly config: StagexConfig;
  readonly paths: Paths;
  readonly ledger: Ledger;
  /** What was built here, and by nobody else. */
  readonly built: Ledger;
  /** What was taken in from elsewhere once enough maintainers had signed it. */
  readonly quorumLedger: Ledger;
  /** What attested images may stand on, by name, as far as this process has found it out. */
  readonly attestableDigests = new Map<string, Digest>();
  readonly runReport: RunReport;
  readonly previewForecast = new PreviewForecast();
  /** What was found of quorums so far. */
  readonly quorumSummary = new QuorumSummary();
  /** The builders, and what is built on which. */
  readonly fleet: Fleet;
  /** Pulls wait for the network rather than for a core. */
  readonly pullLimit: LimitFunction = pLimit(4);
  readonly pushLimit: LimitFunction = pLimit(4);
  readonly #recordings = new Map<string, LimitFunction>();
  readonly #opened = new Map<string, Promise<unknown>>();
  readonly #cancelled: AbortSignal;

  /** `cancelled` ends the opening of what all share, which must not end with the one work that asked for it first. */
  constructor(config: StagexConfig, project: string, cancelled: AbortSignal) {
    this.config = config;
    this.#cancelled = cancelled;
    this.paths = pathsOf(project);
    keepStatePrivate(this.paths);
    this.ledger = new Ledger(this.paths.ledger);
    this.built = new Ledger(this.paths.built);
    this.quorumLedger = new Ledger(this.paths.agreed);
    this.runReport = new RunReport(process.env.STAGEX_JOURNAL);
    this.fleet = new Fleet({
      paths: this.paths,
      expected: expectedBuilders(config),
      ...{ jobs: config.jobs, stall: config.stall, cancelled },
    });
  }

  /**
   * The ledger whose word is enough to build nothing: all that others wrote to it as well; but for who attests, or asks for a quorum, this
   * state folder's own builders alone.
   */
  get trustedLedger(): Ledger {
    const { attest, substituteTrust: trust } = this.config;
    return attest !== undefined || trust === "quorum" ? this.built : this.ledger;
  }

  tree(): Promise<Tree> {
    return this.#once("tree", () => readConfiguredTree(this.config, this.paths));
  }

  store(): Promise<Store> {
    return this.#once("store", () => Store.open(this.paths.store));
  }

  /** What earlier previews found out of images, by their input keys. */
  previewCache(): Promise<PreviewCache<PredictedImage>> {
    return this.#once("recollection", () => PreviewCache.open(this.paths.previewCache, predictedImageSchema));
  }

  sources(operation: Operation): Promise<SourceCache> {
    const client = async () => (await this.#registryClient(operation)).path;
    return this.#once("sources", () => {
      const vault = openVault(this.config.vault, { paths: this.paths, client });
      return SourceCache.open(this.paths.sources, { ...this.config.sources, vault });
    });
  }

  /** How long each image is expected to take, by the ledger as it is when this is first asked. */
  expectations(): Promise<ReadonlyMap<string, BuildEstimate>> {
    return this.#once("expectations", async () => {
      const { records } = await this.ledger.readAll();
      const { images } = await this.tree();
      return estimateBuilds(images, medianSeconds(records), estimateMemory(images, records));
    });
  }

  /** Whether an image of this name may be pulled instead of built. */
  mayBeSubstituted(image: string): Promise<boolean> {
    return this.#isAmong("substitute", image);
  }

  /** Whether an image of this name is built again though its inputs are known. */
  isRebuilt(image: string): Promise<boolean> {
    return this.#isAmong("rebuild", image);
  }

  async #isAmong(key: "substitute" | "rebuild", image: string): Promise<boolean> {
    const patterns = this.config[key];
    if (!patterns) return false;
    const images = await this.#once(key, async () => {
      return new Set(resolveImageNames((await this.tree()).images, patterns));
    });
    return images.has(image);
  }

  /** The tree as its digests were published of it, not as it has become since; undefined where none are. */
  releaseTree(): Promise<Tree | undefined> {
    return this.#once("release", async () => {
      const { root } = await this.tree();
      const commit = await findPublishingCommit(root);
      if (commit === null) return undefined;
      return await readTreeSource(await openGitTree(root, commit), { platforms: this.config.platforms });
    });
  }

  /** How the tree's images stand to those that its digests were published of. */
  publishedInputs(): Promise<PublishedInputs> {
    return this.#once("published-inputs", async () => {
      const tree = await this.tree();
      return new PublishedInputs(tree, await findPublishedTree(tree, { platforms: this.config.platforms }));
    });
  }

  /** The registries to pull from, in the order to ask them. */
  registries(operation: Operation): Promise<readonly Registry[]> {
    return Promise.all(
      (this.config.substituteFrom ?? []).map((address) => this.openRegistry(address, operation)),
    );
  }

  /** Lets one build of an input key at a time record what it fetches. */
  recordingLimit(key: string): LimitFunction {
    const limit = this.#recordings.get(key) ?? pLimit(1);
    this.#recordings.set(key, limit);
    return limit;
  }

  /** The program that gives steps a proxy. It is built where there is none. */
  proxyProgram(operation: Operation): Promise<Tool> {
    return this.#once("with-proxy", () => this.#provide("with-proxy", operation));
  }

  /** A registry to pull from or to push to. Its client is built where there is none. */
  async openRegistry(address: RegistryAddress, operation: Operation): Promise<Registry> {
    return new Registry(address, (await this.#registryClient(operation)).path);
  }

  #registryClient(operation: Pick<Operation, "progress">): Promise<Tool> {
    return this.#once("registry-client", () => this.#provide("registry-client", operation));
  }

  /** Where builders on other machines may have dependencies from; undefined where none is configured. */
  async fleetRegistry(): Promise<FleetRegistry | undefined> {
    const { fleetRegistry: address } = this.config;
    if (address === undefined) return undefined;
    return await this.#once("exchange", async () => {
      const registry = (operation: Operation) => this.openRegistry(address, operation);
      const { scratch } = this.paths;
      const store = await this.store();
      return new FleetRegistry({
        address,
        registry,
        store,
        scratch,
        limit: this.pushLimit,
        cancelled: this.#cancelled,
      });
    });
  }

  /** Who may attest, and how many must agree: read once, so that all images of a run are judged alike. */
  trust(): Promise<ConfiguredTrust> {
    return this.#once("trust", async () =>
      readConfiguredTrust(this.config, this.paths, (await this.tree()).root),
    );
  }

  /** Where attestations are read and, in a folder, written. */
  lookaside(): Promise<Lookaside> {
    return this.#once("signatures", () => openLookaside(this.config, this.paths));
  }

  /** Whoever signs with the configured key, if it is this person's. */
  signer(id: string): Promise<Signer> {
    return this.#once(`signatory ${id}`, async () => {
      const trust = await this.trust();
      const person = requirePerson(trust, id);
      return new Signer(() => openSigningKey(this.config, this.paths, trust, person));
    });
  }

  /** Ends what was started. */
  async close(): Promise<void> {
    if (this.#opened.has("recollection")) await (await this.previewCache()).save(this.paths.scratch);
    await this.fleet.close();
    if (this.#opened.has("exchange")) await (await this.fleetRegistry())?.close();
  }

  #provide(name: ToolName, operation: Pick<Operation, "progress">): Promise<Tool> {
    return provideTool(name, {
      signal: this.#cancelled,
      onProgress: ({ tool, version, detail }) => operation.progress(`building ${tool} ${version}: ${detail}`),
    });
  }

  /** Opens a thing once; one that could not be opened is tried again by the next who asks. */
  #once<Thing>(name: string, open: () => Promise<Thing>): Promise<Thing> {
    const opened = this.#opened.get(name) as Promise<Thing> | undefined;
    if (opened) return opened;
    const opening = open();
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.delete(name));
    return opening;
  }
}
