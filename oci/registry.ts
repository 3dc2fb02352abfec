import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { jsonLimit, readBlob } from "./blob.ts";
import { runCrane } from "./crane.ts";
import type { Digest } from "./digest.ts";
import { type Document, document, exportedIndex, exportedIndexJson } from "./exported-index.ts";
import {
  type Descriptor,
  type Image,
  type ImageManifest,
  type IndexEntry,
  mediaTypes,
  parseConfig,
  parseIndex,
  readManifest,
} from "./image.ts";
import { layoutBlobPath, layoutMarker } from "./layout.ts";
import { type RegistryAddress, repositoryIn } from "./registry-address.ts";
import { registryError } from "./registry-error.ts";
import { Collected, isIndex, readReference } from "./remote-document.ts";
import type { Store } from "./store.ts";

/** How many blobs of one image come at once. */
const atOnce = 3;

/** An image to pull: what it is called, and the digest of its manifest or index, which alone decides what is accepted. */
export type Wanted = {
  readonly image: string;
  readonly version: string;
  readonly digest: Digest;
  /** What a bare manifest has to be for, such as `linux/amd64`; of no meaning where the digest is an index's. */
  readonly platform: string;
};

/** Where pulled images go to, and what is exported from. */
export type Exchange = {
  readonly store: Store;
  /** Temporary folders are made below it; on the store's file system nothing is copied. */
  readonly scratch: string;
  readonly signal?: AbortSignal;
};

/**
 * An OCI registry (distribution-spec 1.1) that images are pulled from and pushed to, by digest.
 *
 * The transport is crane, the command of go-containerregistry: it knows every registry's ways to log in, the docker config
 * and its credential helpers, and is what registries are tested with. The clients on npm hold whole layers in memory and
 * push nothing (Snyk's), push only attestations (sigstore's), or have not been kept up. What comes in is never taken on
 * crane's word: {@link Store.adopt} hashes every byte.
 */
export class Registry {
  readonly address: RegistryAddress;
  readonly #crane: string;

  /** @param crane path of the program */
  constructor(address: RegistryAddress, crane: string) {
    this.address = address;
    this.#crane = crane;
  }

  /**
   * Pulls an image into the store, every blob of it checked; layers that the store has are not asked for. An image whose
   * manifest alone was published gets the index that BuildKit's export would have given it. Nothing half comes in.
   * @throws RegistryError, or LayoutError where the image is whole but is none that StageX exports
   */
  async pull(wanted: Wanted, exchange: Exchange): Promise<Image> {
    return await inFolder(exchange.scratch, async (folder) => {
      await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
      const pull = new Pull(this.#crane, this.#repository(wanted.image), folder, exchange);
      const index = await pull.index(wanted);
      await pull.layers();
      await writeFile(join(folder, "oci-layout"), layoutMarker);
      await writeFile(join(folder, "index.json"), exportedIndexJson(index, wanted.image, wanted.version));
      return await exchange.store.adopt(folder, exchange.signal ? { signal: exchange.signal } : {});
    });
  }

  /**
   * Pushes exactly the stored bytes of an image, by the digest of its index; its manifests can then be pulled by theirs.
   * Every blob is checked before the first goes out, and the index read back after the last.
   */
  async push(image: string, index: Digest, exchange: Exchange): Promise<void> {
    const reference = `${this.#repository(image)}@${index}`;
    await inFolder(exchange.scratch, async (folder) => {
      const layout = join(folder, image);
      await exchange.store.export(index, layout, exchange.signal);
      await this.#run(["push", layout, reference], `pushing ${reference}`, exchange.signal);
    });
    await readReference(this.#crane, this.#repository(image), index, exchange.signal);
  }

  /** Lets a tag point at a manifest or index that the registry has. */
  async tag(image: string, digest: Digest, tag: string, signal?: AbortSignal): Promise<void> {
    const reference = `${this.#repository(image)}@${digest}`;
    await this.#run(["tag", reference, tag], `tagging ${reference} as ${tag}`, signal);
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

  /** For commands whose words on stdout are for people. */
  async #run(args: readonly string[], doing: string, signal: AbortSignal | undefined): Promise<void> {
    await runCrane(this.#crane, args, { doing, to: () => new Collected().anew(), limit: jsonLimit, signal });
  }
}

/** One image on its way into a layout folder. */
class Pull {
  readonly #crane: string;
  readonly #repository: string;
  readonly #folder: string;
  readonly #exchange: Exchange;
  readonly #layers = new Map<Digest, Descriptor>();

  constructor(crane: string, repository: string, folder: string, exchange: Exchange) {
    this.#crane = crane;
    this.#repository = repository;
    this.#folder = folder;
    this.#exchange = exchange;
  }

  /** Brings in all documents, from the wanted one down, and returns the image index: the registry's, or one made here. */
  async index({ digest, platform }: Wanted): Promise<Document> {
    const found = await this.#manifest(digest);
    if (isIndex(found.bytes)) {
      const at = this.#pathOf(digest);
      for (const entry of parseIndex(found.bytes, at, digest)) {
        await this.#manifest(entry.digest);
        await this.#image(entry);
      }
      return document(mediaTypes.index, found.bytes);
    }
    const { config } = await this.#image({ ...found, platform });
    await this.#expectPlatform(config, platform);
    const index = exportedIndex(found, platform);
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
      document: async (blob) => {
        if (blob.digest !== entry.digest) await this.#blob(blob);
        return await readBlob(this.#pathOf(blob.digest), blob);
      },
    });
    for (const layer of manifest.layers) this.#layers.set(layer.digest, layer);
    return manifest;
  }

  async #manifest(digest: Digest): Promise<Document> {
    const found = await readReference(this.#crane, this.#repository, digest, this.#exchange.signal);
    await writeFile(this.#pathOf(digest), found.bytes);
    return found;
  }

  async #layer(layer: Descriptor): Promise<void> {
    if (!(await this.#exchange.store.has(layer, this.#exchange.signal))) await this.#blob(layer);
  }

  async #blob({ digest, size }: Descriptor): Promise<void> {
    const reference = `${this.#repository}@${digest}`;
    await runCrane(this.#crane, ["blob", reference], {
      doing: `pulling the blob ${reference}`,
      to: () => createWriteStream(this.#pathOf(digest)),
      limit: size,
      signal: this.#exchange.signal,
    });
  }

  async #expectPlatform(config: Descriptor, platform: string): Promise<void> {
    const path = this.#pathOf(config.digest);
    const { os, architecture } = parseConfig(await readBlob(path, config), path, config.digest);
    if (platform === `${os}/${architecture}` || platform.startsWith(`${os}/${architecture}/`)) return;
    const reason = `the image is for ${os}/${architecture}, not for ${platform}`;
    throw registryError("failed", `pulling ${this.#repository}`, reason);
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
