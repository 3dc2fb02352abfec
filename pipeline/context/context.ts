import pLimit, { type LimitFunction } from "p-limit";
import { expectedBuilders } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";
import { namesLike } from "../../distro/image-names.ts";
import { Ledger } from "../../distro/ledger/ledger.ts";
import { type Expectation, expectations, recordedSeconds } from "../../distro/plan/build-durations.ts";
import { expectedMemory } from "../../distro/plan/build-memory.ts";
import { PublishedInputs } from "../../distro/published/published-inputs.ts";
import { publishedTree } from "../../distro/published/published-tree.ts";
import { publishingCommit } from "../../distro/published/release-import.ts";
import { revisionTree } from "../../distro/tree/git-tree.ts";
import { readTreeFiles, type Tree } from "../../distro/tree/tree.ts";
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
import { type Foreseen, foreseenSchema } from "./known-digests.ts";
import { configuredTree } from "./open-tree.ts";
import { type ConfiguredTrust, configuredSignatures, configuredTrust } from "./open-trust.ts";
import { configuredVault } from "./open-vault.ts";
import { PreviewCache } from "./preview-cache.ts";
import { PreviewForecast } from "./preview-forecast.ts";
import { RunReport } from "./run-report.ts";
import { configuredKey, personIn, Signer } from "./signer.ts";

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
  readonly agreed: Ledger;
  /** What attested images may stand on, by name, as far as this process has found it out. */
  readonly firm = new Map<string, Digest>();
  readonly journal: RunReport;
  readonly outlook = new PreviewForecast();
  /** What was found of quorums so far. */
  readonly quorums = new QuorumSummary();
  /** The builders, and what is built on which. */
  readonly fleet: Fleet;
  /** Pulls wait for the network rather than for a core. */
  readonly pulls: LimitFunction = pLimit(4);
  readonly pushes: LimitFunction = pLimit(4);
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
    this.agreed = new Ledger(this.paths.agreed);
    this.journal = new RunReport(process.env.STAGEX_JOURNAL);
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
  get believed(): Ledger {
    const { attest, trust } = this.config;
    return attest !== undefined || trust === "quorum" ? this.built : this.ledger;
  }

  tree(): Promise<Tree> {
    return this.#once("tree", () => configuredTree(this.config, this.paths));
  }

  store(): Promise<Store> {
    return this.#once("store", () => Store.open(this.paths.store));
  }

  /** What earlier previews found out of images, by their input keys. */
  recollection(): Promise<PreviewCache<Foreseen>> {
    return this.#once("recollection", () => PreviewCache.open(this.paths.recollection, foreseenSchema));
  }

  sources(operation: Operation): Promise<SourceCache> {
    const client = async () => (await this.#registryClient(operation)).path;
    return this.#once("sources", () => {
      const vault = configuredVault(this.config.vault, { paths: this.paths, client });
      return SourceCache.open(this.paths.sources, { ...this.config.sources, vault });
    });
  }

  /** How long each image is expected to take, by the ledger as it is when this is first asked. */
  expectations(): Promise<ReadonlyMap<string, Expectation>> {
    return this.#once("expectations", async () => {
      const { records } = await this.ledger.all();
      const { images } = await this.tree();
      return expectations(images, recordedSeconds(records), expectedMemory(images, records));
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
      return new Set(namesLike((await this.tree()).images, patterns));
    });
    return images.has(image);
  }

  /** The tree as its digests were published of it, not as it has become since; undefined where none are. */
  release(): Promise<Tree | undefined> {
    return this.#once("release", async () => {
      const { root } = await this.tree();
      const commit = await publishingCommit(root);
      if (commit === null) return undefined;
      return await readTreeFiles(await revisionTree(root, commit), { platforms: this.config.platforms });
    });
  }

  /** How the tree's images stand to those that its digests were published of. */
  publishedInputs(): Promise<PublishedInputs> {
    return this.#once("published-inputs", async () => {
      const tree = await this.tree();
      return new PublishedInputs(tree, await publishedTree(tree, { platforms: this.config.platforms }));
    });
  }

  /** The registries to pull from, in the order to ask them. */
  registries(operation: Operation): Promise<readonly Registry[]> {
    return Promise.all((this.config.registry ?? []).map((address) => this.registryAt(address, operation)));
  }

  /** Lets one build of an input key at a time record what it fetches. */
  recordings(key: string): LimitFunction {
    const limit = this.#recordings.get(key) ?? pLimit(1);
    this.#recordings.set(key, limit);
    return limit;
  }

  /** The program that gives steps a proxy. It is built where there is none. */
  withProxy(operation: Operation): Promise<Tool> {
    return this.#once("with-proxy", () => this.#provide("with-proxy", operation));
  }

  /** A registry to pull from or to push to. Its client is built where there is none. */
  async registryAt(address: RegistryAddress, operation: Operation): Promise<Registry> {
    return new Registry(address, (await this.#registryClient(operation)).path);
  }

  #registryClient(operation: Pick<Operation, "progress">): Promise<Tool> {
    return this.#once("registry-client", () => this.#provide("registry-client", operation));
  }

  /** Where builders on other machines may have dependencies from; undefined where none is configured. */
  async exchange(): Promise<FleetRegistry | undefined> {
    const { exchange: address } = this.config;
    if (address === undefined) return undefined;
    return await this.#once("exchange", async () => {
      const registry = (operation: Operation) => this.registryAt(address, operation);
      const { scratch } = this.paths;
      const store = await this.store();
      return new FleetRegistry({
        address,
        registry,
        store,
        scratch,
        limit: this.pushes,
        cancelled: this.#cancelled,
      });
    });
  }

  /** Who may attest, and how many must agree: read once, so that all images of a run are judged alike. */
  trust(): Promise<ConfiguredTrust> {
    return this.#once("trust", async () =>
      configuredTrust(this.config, this.paths, (await this.tree()).root),
    );
  }

  /** Where attestations are read and, in a folder, written. */
  signatures(): Promise<Lookaside> {
    return this.#once("signatures", () => configuredSignatures(this.config, this.paths));
  }

  /** Whoever signs with the configured key, if it is this person's. */
  signatory(id: string): Promise<Signer> {
    return this.#once(`signatory ${id}`, async () => {
      const trust = await this.trust();
      const person = personIn(trust, id);
      return new Signer(() => configuredKey(this.config, this.paths, trust, person));
    });
  }

  /** Ends what was started. */
  async close(): Promise<void> {
    if (this.#opened.has("recollection")) await (await this.recollection()).file(this.paths.scratch);
    await this.fleet.close();
    if (this.#opened.has("exchange")) await (await this.exchange())?.close();
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
