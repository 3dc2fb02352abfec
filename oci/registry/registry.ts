import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { jsonLimit, readBlob } from "../blob.ts";
import { buildkitIndex, buildkitIndexJson, type Document, documentOf } from "../buildkit-index.ts";
import type { Digest } from "../digest.ts";
import {
  type Descriptor,
  type Image,
  type ImageManifest,
  type IndexEntry,
  mediaTypes,
  parseIndex,
  readManifest,
} from "../image.ts";
import { layoutBlobPath, layoutMarker } from "../layout.ts";
import type { Store } from "../store/store.ts";
import { pushReferrer, type Referrer } from "./referrer.ts";
import { parseRegistryAddress, type RegistryAddress, repositoryIn } from "./registry-address.ts";
import { auditRegistryImage, type RegistryDamage } from "./registry-audit.ts";
import { type ClientCommand, RegistryClient, type RetryOptions } from "./registry-client.ts";
import { RegistryError, registryError } from "./registry-error.ts";
import type { RegistryLimits } from "./registry-limits.ts";
import { isIndex, OutputBuffer, pullManifest, pullTag } from "./registry-manifest.ts";

/** How many blobs of one image come at once. */
const atOnce = 3;

/** An image to pull: what it is called, and the digest of its manifest or index, which alone decides what is accepted. */
export type ImageToPull = {
  readonly image: string;
  readonly version: string;
  readonly digest: Digest;
  /** What a bare manifest has to be for, such as `linux/amd64`; of no meaning where the digest is an index's. */
  readonly platform: string;
};

/** Where pulled images go to, and what is exported from. */
export type TransferOptions = RetryOptions & {
  readonly store: Store;
  /** Temporary folders are made below it; on the store's file system nothing is copied. */
  readonly scratch: string;
  readonly signal?: AbortSignal;
};

/**
 * An OCI registry (distribution-spec 1.1) that images are pulled from and pushed to, by digest.
 *
 * The transport is {@link RegistryClient}, on go-containerregistry, which registries are tested with. The clients on npm hold
 * whole layers in memory and push nothing (Snyk's), push only attestations (sigstore's), or have not been kept up. What comes
 * in is never taken on the client's word: {@link Store.adopt} hashes every byte.
 */
export class Registry {
  readonly address: RegistryAddress;
  readonly #client: RegistryClient;

  /** @param client path of the registry client */
  constructor(address: RegistryAddress, client: string, limits?: RegistryLimits) {
    this.address = address;
    this.#client = new RegistryClient(client, limits);
  }

  /**
   * Pulls an image into the store, every blob of it checked; layers that the store has are not asked for. An image whose
   * manifest alone was published gets the index that BuildKit's export would have given it. Nothing half comes in.
   * @throws RegistryError, or LayoutError where the image is whole but is none that StageX exports
   */
  async pull(wanted: ImageToPull, exchange: TransferOptions): Promise<Image> {
    return await inFolder(exchange.scratch, async (folder) => {
      await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
      const pull = new Pull(this.#client.forImage(), this.#repository(wanted.image), folder, exchange);
      const index = await pull.index(wanted);
      await pull.layers();
      await writeFile(join(folder, "oci-layout"), layoutMarker);
      await writeFile(join(folder, "index.json"), buildkitIndexJson(index, wanted.image, wanted.version));
      return await exchange.store.adopt(folder, exchange.signal ? { signal: exchange.signal } : {});
    });
  }

  /**
   * Pushes exactly the stored bytes of an image, by the digest of its index or of one platform's manifest alone; an index's manifests
   * can then be pulled by theirs. Every blob is checked before the first goes out, what the registry has is not sent again, and after
   * the last it must say that it has them all.
   * @throws RegistryError, or LayoutError where the store does not have it whole
   */
  async push(image: string, digest: Digest, exchange: TransferOptions): Promise<void> {
    const reference = `${this.#repository(image)}@${digest}`;
    const client = this.#client.forImage(exchange);
    await inFolder(exchange.scratch, async (folder) => {
      const layout = join(folder, image);
      const stored = await exchange.store.find(digest);
      await exchange.store.export(stored?.index ?? digest, layout, exchange.signal);
      const named = stored?.manifests.find((manifest) => manifest.digest === digest);
      if (named !== undefined) await nameInLayout(layout, named);
      const { manifests } = stored ?? (await exchange.store.readImage(digest));
      const pushed = named === undefined ? manifests : [named];
      const size = pushed.reduce((sum, manifest) => sum + sizeOf(manifest), 0);
      await run(client, ["push", layout, reference], `pushing ${reference}`, { ...exchange, size });
      await pullManifest(client, this.#repository(image), digest, exchange.signal, exchange);
      const damages = await auditRegistryImage(client, this.#repository(image), digest, exchange);
      if (damages.length === 0) return;
      for (const manifest of pushed) await this.#sendBlobs(client, image, manifest, layout, exchange);
      const [left] = await auditRegistryImage(client, this.#repository(image), digest, exchange);
      if (left !== undefined) throw registryError("failed", `pushing ${reference}`, left.message);
    });
  }

  /** Lays an artifact beside an image that the registry has; says by which digest. */
  async attach(image: string, referrer: Referrer, exchange: Omit<TransferOptions, "store">): Promise<Digest> {
    const repository = parseRegistryAddress(this.#repository(image));
    return await pushReferrer(repository, referrer, { ...exchange, client: this.#client });
  }

  /** Lets a tag point at a manifest or index that the registry has. */
  async tag(
    image: string,
    digest: Digest,
    tag: string,
    signal?: AbortSignal,
    endurance: RetryOptions = {},
  ): Promise<void> {
    const reference = `${this.#repository(image)}@${digest}`;
    await run(this.#client, ["tag", reference, tag], `tagging ${reference} as ${tag}`, {
      signal,
      ...endurance,
    });
  }

  /**
   * The digest of the bytes that a tag gives now, hashed here; null where there is no such tag.
   * @throws RegistryError where it gives anything else than a manifest or index, or can't tell
   */
  async resolveTag(
    image: string,
    tag: string,
    signal?: AbortSignal,
    endurance: RetryOptions = {},
  ): Promise<Digest | null> {
    try {
      return (await pullTag(this.#client, this.#repository(image), tag, signal, endurance)).digest;
    } catch (error) {
      if (error instanceof RegistryError && error.problem === "absent") return null;
      throw error;
    }
  }

  /** Removes a tag, and nothing that it points at; succeeds where there is none. */
  async untag(image: string, tag: string, signal?: AbortSignal, endurance: RetryOptions = {}): Promise<void> {
    const reference = `${this.#repository(image)}:${tag}`;
    try {
      await run(this.#client, ["delete", reference], `removing ${reference}`, { signal, ...endurance });
    } catch (error) {
      if (!(error instanceof RegistryError) || error.problem !== "absent") throw error;
    }
  }

  /**
   * What the registry lacks of the image with this manifest or index, though it may answer to its digest.
   * @throws RegistryError where it can't tell
   */
  async audit(
    image: string,
    digest: Digest,
    run: Pick<TransferOptions, "signal"> & RetryOptions = {},
  ): Promise<readonly RegistryDamage[]> {
    return await auditRegistryImage(this.#client.forImage(run), this.#repository(image), digest, run);
  }

  #repository(image: string): string {
    const repository = repositoryIn(this.address, image);
    if (repository !== null) return repository;
    throw registryError(
      "absent",
      `${image} at ${this.address}`,
      "no registry can have an image of that name",
    );
  }

  /**
   * Sends what a registry has lost below a manifest that it still has. The client takes a manifest that is there for whole, so
   * another one, that no tag points at, goes with the same blobs.
   */
  async #sendBlobs(
    client: RegistryClient,
    image: string,
    manifest: ImageManifest,
    layout: string,
    exchange: TransferOptions,
  ): Promise<void> {
    const json = JSON.parse((await readBlob(layoutBlobPath(layout, manifest.digest), manifest)).toString());
    const carrier = documentOf(
      mediaTypes.manifest,
      Buffer.from(JSON.stringify({ ...json, annotations: { "stagex.blobs-sent-again": randomUUID() } })),
    );
    await writeFile(layoutBlobPath(layout, carrier.digest), carrier.bytes);
    await nameInLayout(layout, carrier);
    const reference = `${this.#repository(image)}@${carrier.digest}`;
    const doing = `sending the blobs of ${this.#repository(image)}@${manifest.digest} again`;
    await run(client, ["push", layout, reference], doing, { ...exchange, size: sizeOf(manifest) });
  }
}

/** Runs a command that prints nothing. */
async function run(
  client: RegistryClient,
  args: readonly string[],
  doing: string,
  {
    signal,
    retryFor: endurance,
    onRetry: waiting,
    size,
  }: Pick<ClientCommand, "signal" | "size"> & RetryOptions,
): Promise<void> {
  const to = () => new OutputBuffer().restart();
  await client.run(args, {
    action: doing,
    openOutput: to,
    limit: jsonLimit,
    signal,
    retryFor: endurance,
    onRetry: waiting,
    ...(size ? { size } : {}),
  });
}

function sizeOf({ config, layers }: ImageManifest): number {
  return [config, ...layers].reduce((sum, { size }) => sum + size, 0);
}

/** Lets a layout folder be one of this manifest alone. */
async function nameInLayout(folder: string, { mediaType, digest, size }: Descriptor): Promise<void> {
  const manifests = [{ mediaType, digest, size }];
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
}

/** One image on its way into a layout folder. */
class Pull {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #folder: string;
  readonly #exchange: TransferOptions;
  readonly #layers = new Map<Digest, Descriptor>();

  constructor(client: RegistryClient, repository: string, folder: string, exchange: TransferOptions) {
    this.#client = client;
    this.#repository = repository;
    this.#folder = folder;
    this.#exchange = exchange;
  }

  /** Brings in all documents, from the wanted one down, and returns the image index: the registry's, or one made here. */
  async index({ digest, platform }: ImageToPull): Promise<Document> {
    const found = await this.#manifest(digest);
    if (isIndex(found.bytes)) {
      const at = this.#pathOf(digest);
      for (const entry of parseIndex(found.bytes, at, digest)) {
        await this.#manifest(entry.digest);
        await this.#image(entry);
      }
      return documentOf(mediaTypes.index, found.bytes);
    }
    await this.#image({ ...found, platform });
    const index = buildkitIndex(found, platform);
    await writeFile(this.#pathOf(index.digest), index.bytes);
    return index;
  }

  /** Brings in the layers of all images, but for those that the store has. */
  async layers(): Promise<void> {
    const limit = pLimit(atOnce);
    const coming = [...this.#layers.values()].map((layer) => limit(() => this.#layer(layer)));
    const results = await Promise.allSettled(coming);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #image(entry: IndexEntry): Promise<ImageManifest> {
    const { manifest } = await readManifest(entry, {
      pathOf: (digest) => this.#pathOf(digest),
      readDocument: async (blob) => {
        if (blob.digest !== entry.digest) await this.#blob(blob);
        return await readBlob(this.#pathOf(blob.digest), blob);
      },
    });
    for (const layer of manifest.layers) this.#layers.set(layer.digest, layer);
    return manifest;
  }

  async #manifest(digest: Digest): Promise<Document> {
    const found = await pullManifest(this.#client, this.#repository, digest, this.#exchange.signal);
    await writeFile(this.#pathOf(digest), found.bytes);
    return found;
  }

  async #layer(layer: Descriptor): Promise<void> {
    if (!(await this.#exchange.store.has(layer, this.#exchange.signal))) await this.#blob(layer);
  }

  async #blob({ digest, size }: Descriptor): Promise<void> {
    const reference = `${this.#repository}@${digest}`;
    await this.#client.run(["blob", reference], {
      action: `pulling the blob ${reference}`,
      openOutput: () => createWriteStream(this.#pathOf(digest)),
      limit: size,
      size,
      signal: this.#exchange.signal,
    });
  }

  #pathOf(digest: Digest): string {
    return layoutBlobPath(this.#folder, digest);
  }
}

/** Works in a folder of its own, which is gone afterwards. */
async function inFolder<Result>(scratch: string, work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = join(scratch, `registry-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
