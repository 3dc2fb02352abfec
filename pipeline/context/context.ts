import pLimit, { type LimitFunction } from "p-limit";
import { expectedBuilders } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";
import { resolveImageNames } from "../../distro/image-names.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { type BuildEstimate, estimateBuilds, medianSeconds } from "../../distro/plan/build-durations.ts";
import { estimateMemory } from "../../distro/plan/build-memory.ts";
import { PublishedInputs } from "../../distro/published/published-inputs.ts";
import { findPublishedTree } from "../../distro/published/published-tree.ts";
import { findPublishingCommit } from "../../distro/published/release-records.ts";
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
 * Everything that packages are made with, shared by one provider process. Tree, store, registries
 * and builders are opened when they are first asked for. So an `up` that builds nothing starts no
 * daemon.
 */
export class Context {
  readonly config: StagexConfig;
  readonly paths: Paths;
  /** The ledger to which others' records may have been added. */
  readonly ledger: Ledger;
  /** Records of the builds of this state folder alone. */
  readonly built: Ledger;
  /** Records of images that others built and enough maintainers have signed. */
  readonly quorumLedger: Ledger;
  /**
   * Digests of images that an attested image may be built from, by name, as this process has found
   * them.
   */
  readonly attestableDigests = new Map<string, Digest>();
  readonly runReport: RunReport;
  readonly previewForecast = new PreviewForecast();
  readonly quorumSummary = new QuorumSummary();
  readonly fleet: Fleet;
  /** Limits downloads, which wait for the network and not for a core. */
  readonly pullLimit: LimitFunction = pLimit(4);
  readonly pushLimit: LimitFunction = pLimit(4);
  readonly #recordingLimits = new Map<string, LimitFunction>();
  readonly #opened = new Map<string, Promise<unknown>>();
  readonly #cancelled: AbortSignal;

  /**
   * @param cancelled ends the opening of what all share. The signal of a single operation must not:
   *   others wait for the same
   */
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
   * The ledger whose records make a build unnecessary. For who attests or asks for a quorum it has
   * local builds alone.
   */
  get trustedLedger(): Ledger {
    const { attest, substituteTrust: trust } = this.config;
    return attest !== undefined || trust === "quorum" ? this.built : this.ledger;
  }

  tree(): Promise<Tree> {
    return this.#once("tree", () => readConfiguredTree(this.config, this.paths));
  }

  /** Reads the tree as of the commit that published its digests; undefined where none did. */
  releaseTree(): Promise<Tree | undefined> {
    return this.#once("release-tree", async () => {
      const { root } = await this.tree();
      const commit = await findPublishingCommit(root);
      if (commit === null) return undefined;
      return await readTreeSource(await openGitTree(root, commit), { platforms: this.config.platforms });
    });
  }

  /** Compares the tree's images with those that its digests were published of. */
  publishedInputs(): Promise<PublishedInputs> {
    return this.#once("published-inputs", async () => {
      const tree = await this.tree();
      return new PublishedInputs(tree, await findPublishedTree(tree, { platforms: this.config.platforms }));
    });
  }

  store(): Promise<Store> {
    return this.#once("store", () => Store.open(this.paths.store));
  }

  /** Opens the predictions of earlier previews, by input key. */
  previewCache(): Promise<PreviewCache<PredictedImage>> {
    return this.#once("preview-cache", () =>
      PreviewCache.open(this.paths.previewCache, predictedImageSchema),
    );
  }

  sources(operation: Operation): Promise<SourceCache> {
    const client = async () => (await this.#registryClient(operation)).path;
    return this.#once("sources", () => {
      const vault = openVault(this.config.vault, { paths: this.paths, client });
      return SourceCache.open(this.paths.sources, { ...this.config.sources, vault });
    });
  }

  /** Estimates each image's build time and memory, by the ledger as it is at the first call. */
  expectations(): Promise<ReadonlyMap<string, BuildEstimate>> {
    return this.#once("expectations", async () => {
      const { records } = await this.ledger.readAll();
      const { images } = await this.tree();
      return estimateBuilds(images, medianSeconds(records), estimateMemory(images, records));
    });
  }

  /** Tells whether an image may be pulled in place of being built (`stagex:substitute`). */
  mayBeSubstituted(image: string): Promise<boolean> {
    return this.#matches("substitute", image);
  }

  /**
   * Tells whether an image is built again though the ledger knows its inputs (`stagex:rebuild`).
   */
  isRebuilt(image: string): Promise<boolean> {
    return this.#matches("rebuild", image);
  }

  async #matches(key: "substitute" | "rebuild", image: string): Promise<boolean> {
    const patterns = this.config[key];
    if (!patterns) return false;
    const images = await this.#once(key, async () => {
      return new Set(resolveImageNames((await this.tree()).images, patterns));
    });
    return images.has(image);
  }

  /** Opens the registries to pull from, in the order to ask them. */
  registries(operation: Operation): Promise<readonly Registry[]> {
    return Promise.all(
      (this.config.substituteFrom ?? []).map((address) => this.openRegistry(address, operation)),
    );
  }

  /** Opens a registry to pull from or to push to. */
  async openRegistry(address: RegistryAddress, operation: Operation): Promise<Registry> {
    return new Registry(address, (await this.#registryClient(operation)).path);
  }

  /**
   * Opens the registry through which builders on other machines get dependencies; undefined where
   * none is configured.
   */
  async fleetRegistry(): Promise<FleetRegistry | undefined> {
    const { fleetRegistry: address } = this.config;
    if (address === undefined) return undefined;
    return await this.#once("fleet-registry", async () => {
      const registry = (operation: Operation) => this.openRegistry(address, operation);
      const { scratch } = this.paths;
      const [store, limit, cancelled] = [await this.store(), this.pushLimit, this.#cancelled];
      return new FleetRegistry({ address, registry, store, scratch, limit, cancelled });
    });
  }

  /** Returns the limit by which one build of an input key at a time records its fetches. */
  recordingLimit(inputKey: string): LimitFunction {
    const limit = this.#recordingLimits.get(inputKey) ?? pLimit(1);
    this.#recordingLimits.set(inputKey, limit);
    return limit;
  }

  /** Provides the program that gives a build step a proxy; compiles it if needed. */
  proxyProgram(operation: Operation): Promise<Tool> {
    return this.#once("with-proxy", () => this.#provide("with-proxy", operation));
  }

  /** Reads roster, keys and rule once, so that all images of a run are judged alike. */
  trust(): Promise<ConfiguredTrust> {
    return this.#once("trust", async () =>
      readConfiguredTrust(this.config, this.paths, (await this.tree()).root),
    );
  }

  /** Opens the place of the attestations. In a folder they are also written. */
  lookaside(): Promise<Lookaside> {
    return this.#once("lookaside", () => openLookaside(this.config, this.paths));
  }

  /** Opens the signer with the configured key, which must be this person's. */
  signer(id: string): Promise<Signer> {
    return this.#once(`signer ${id}`, async () => {
      const trust = await this.trust();
      const person = requirePerson(trust, id);
      return new Signer(() => openSigningKey(this.config, this.paths, trust, person));
    });
  }

  /** Saves the preview cache; closes the builders and ends pushes. */
  async close(): Promise<void> {
    if (this.#opened.has("preview-cache")) await (await this.previewCache()).save(this.paths.scratch);
    await this.fleet.close();
    if (this.#opened.has("fleet-registry")) await (await this.fleetRegistry())?.close();
  }

  #registryClient(operation: Pick<Operation, "progress">): Promise<Tool> {
    return this.#once("registry-client", () => this.#provide("registry-client", operation));
  }

  #provide(name: ToolName, operation: Pick<Operation, "progress">): Promise<Tool> {
    return provideTool(name, {
      signal: this.#cancelled,
      onProgress: ({ tool, version, detail }) => operation.progress(`building ${tool} ${version}: ${detail}`),
    });
  }

  /** Opens a thing once. After a failure the next call tries again. */
  #once<Thing>(name: string, open: () => Promise<Thing>): Promise<Thing> {
    const opened = this.#opened.get(name) as Promise<Thing> | undefined;
    if (opened) return opened;
    const opening = open();
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.delete(name));
    return opening;
  }
}
