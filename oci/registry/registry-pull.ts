import { createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { readBlob } from "../blob.ts";
import { buildkitIndex, buildkitIndexJson } from "../buildkit-index.ts";
import { type Descriptor, type Document, documentOf, mediaTypes } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import { readManifest } from "../image.ts";
import { type IndexEntry, parseIndex } from "../image-documents.ts";
import { layoutBlobPath, layoutMarker } from "../layout.ts";
import type { Store } from "../store/store.ts";
import type { RegistryClient } from "./registry-client.ts";
import { isIndex, pullManifest } from "./registry-manifest.ts";

/** The number of blobs of one image that are pulled at once. */
const blobsAtOnce = 3;

/** An image to pull. The digest of its manifest or index alone decides what is accepted. */
export type ImageToPull = {
  readonly image: string;
  readonly version: string;
  readonly digest: Digest;
  /**
   * The platform of a manifest that is pulled alone, such as `linux/amd64`; not used for an index.
   */
  readonly platform: string;
};

/** The repository of an image, with the registry's host. */
type ImageRepository = { readonly client: RegistryClient; readonly repository: string };

type PullOptions = {
  /** Layers that it has are not pulled. */
  readonly store: Store;
  readonly signal?: AbortSignal | undefined;
};

/**
 * Pulls an image into an OCI layout folder. Only its documents are verified.
 * @throws RegistryError, LayoutError
 */
export async function pullLayout(
  from: ImageRepository,
  wanted: ImageToPull,
  folder: string,
  options: PullOptions,
): Promise<void> {
  await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
  const pull = new LayoutPull(from, folder, options);
  const index = await pull.pullDocuments(wanted);
  await pull.pullLayers();
  await writeFile(join(folder, "oci-layout"), layoutMarker);
  await writeFile(join(folder, "index.json"), buildkitIndexJson(index, wanted.image, wanted.version));
}

class LayoutPull {
  readonly #from: ImageRepository;
  readonly #folder: string;
  readonly #options: PullOptions;
  readonly #layers = new Map<Digest, Descriptor>();

  constructor(from: ImageRepository, folder: string, options: PullOptions) {
    this.#from = from;
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * Pulls all documents, from the wanted one down, and returns the registry's image index or one
   * made here.
   */
  async pullDocuments({ digest, platform }: ImageToPull): Promise<Document> {
    const found = await this.#pullManifest(digest);
    if (isIndex(found.bytes)) {
      for (const entry of parseIndex(found.bytes, this.#pathOf(digest), digest)) {
        await this.#pullManifest(entry.digest);
        await this.#pullConfig(entry);
      }
      return documentOf(mediaTypes.index, found.bytes);
    }
    await this.#pullConfig({ ...found, platform });
    const index = buildkitIndex(found, platform);
    await writeFile(this.#pathOf(index.digest), index.bytes);
    return index;
  }

  /** Pulls the layers of all manifests, without those that the store has. */
  async pullLayers(): Promise<void> {
    const { store, signal } = this.#options;
    const limit = pLimit(blobsAtOnce);
    const pulls = [...this.#layers.values()].map((layer) =>
      limit(async () => {
        if (!(await store.has(layer, signal))) await this.#pullBlob(layer);
      }),
    );
    const results = await Promise.allSettled(pulls);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** Pulls and verifies a manifest's config, and notes its layers. */
  async #pullConfig(entry: IndexEntry): Promise<void> {
    const { manifest } = await readManifest(entry, {
      pathOf: (digest) => this.#pathOf(digest),
      readDocument: async (blob) => {
        if (blob.digest !== entry.digest) await this.#pullBlob(blob);
        return await readBlob(this.#pathOf(blob.digest), blob);
      },
    });
    for (const layer of manifest.layers) this.#layers.set(layer.digest, layer);
  }

  async #pullManifest(digest: Digest): Promise<Document> {
    const { client, repository } = this.#from;
    const found = await pullManifest(client, repository, digest, { signal: this.#options.signal });
    await writeFile(this.#pathOf(digest), found.bytes);
    return found;
  }

  async #pullBlob({ digest, size }: Descriptor): Promise<void> {
    const reference = `${this.#from.repository}@${digest}`;
    await this.#from.client.run(["blob", reference], {
      action: `pulling the blob ${reference}`,
      openOutput: () => createWriteStream(this.#pathOf(digest)),
      limit: size,
      size,
      signal: this.#options.signal,
    });
  }

  #pathOf(digest: Digest): string {
    return layoutBlobPath(this.#folder, digest);
  }
}
