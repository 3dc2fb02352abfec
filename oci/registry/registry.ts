import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { readBlob } from "../blob.ts";
import { type Descriptor, documentOf, mediaTypes } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import type { Image, ImageManifest } from "../image.ts";
import { layoutBlobPath, layoutIndexJson } from "../layout.ts";
import type { Store } from "../store/store.ts";
import { pushReferrer, type Referrer } from "./referrer.ts";
import { parseRegistryAddress, type RegistryAddress, repositoryIn } from "./registry-address.ts";
import { auditRegistryImage, type RegistryDamage } from "./registry-audit.ts";
import { RegistryClient, type RequestOptions, type RetryOptions } from "./registry-client.ts";
import { RegistryError, registryError } from "./registry-error.ts";
import type { RegistryLimits } from "./registry-limits.ts";
import { pullManifest, pullTag } from "./registry-manifest.ts";
import { type ImageToPull, pullLayout } from "./registry-pull.ts";

/** Options of a pull or push. */
export type TransferOptions = RequestOptions & {
  /** Pulled images go here, and pushed ones come from here. */
  readonly store: Store;
  /** Temporary folders are made below it; on the store's file system nothing is copied. */
  readonly scratch: string;
};

/**
 * An OCI registry (distribution-spec 1.1) that images are pulled from and pushed to, by digest.
 *
 * The transport is {@link RegistryClient}, on go-containerregistry, which registries are tested
 * with. The clients on npm hold whole layers in memory and push nothing (Snyk's), push only
 * attestations (sigstore's), or have not been kept up. Nothing depends on the client being right:
 * {@link Store.adopt} hashes every byte.
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
   * Pulls an image into the store, and verifies every blob of it. Layers that the store has are not
   * pulled. An image whose manifest alone was published gets the index that BuildKit's export would
   * have given it. An image comes in whole or not at all.
   * @throws RegistryError; LayoutError where the image is none that StageX exports
   */
  async pull(wanted: ImageToPull, { store, scratch, signal }: TransferOptions): Promise<Image> {
    return await withTempDir(scratch, async (folder) => {
      const from = { client: this.#client.forImage(), repository: this.#repository(wanted.image) };
      await pullLayout(from, wanted, folder, { store, signal });
      return await store.adopt(folder, signal ? { signal } : {});
    });
  }

  /**
   * Pushes the stored bytes of an image, by the digest of its index or of one platform's manifest
   * alone. The manifests of an index can then be pulled by their own digests. Every blob is
   * verified before the first is sent, and blobs that the registry has are not sent again.
   * Afterwards the registry is audited.
   * @throws RegistryError; LayoutError where the store does not have the image whole
   */
  async push(image: string, digest: Digest, options: TransferOptions): Promise<void> {
    const { store, scratch, ...request } = options;
    const repository = this.#repository(image);
    const action = `pushing ${repository}@${digest}`;
    const client = this.#client.forImage(request);
    await withTempDir(scratch, async (folder) => {
      const layout = join(folder, image);
      const stored = await store.find(digest);
      await store.export(stored?.index ?? digest, layout, request.signal);
      const alone = stored?.manifests.find((manifest) => manifest.digest === digest);
      if (alone !== undefined) await selectImage(layout, alone);
      const { manifests } = stored ?? (await store.readImage(digest));
      const pushed = alone === undefined ? manifests : [alone];
      const size = pushed.reduce((sum, manifest) => sum + sizeOf(manifest), 0);
      await client.read(["push", layout, `${repository}@${digest}`], { ...request, action, size });
      await pullManifest(client, repository, digest, request);
      if ((await auditRegistryImage(client, repository, digest, request)).length === 0) return;
      for (const manifest of pushed) await sendBlobsAgain(client, repository, manifest, layout, request);
      const [left] = await auditRegistryImage(client, repository, digest, request);
      if (left !== undefined) throw registryError("failed", action, left.message);
    });
  }

  /**
   * Pushes an artifact beside an image that the registry has, and returns the artifact's digest.
   */
  async attach(image: string, referrer: Referrer, options: Omit<TransferOptions, "store">): Promise<Digest> {
    const repository = parseRegistryAddress(this.#repository(image));
    return await pushReferrer(repository, referrer, { ...options, client: this.#client });
  }

  /** Points a tag at a manifest or index that the registry has. */
  async tag(
    image: string,
    digest: Digest,
    tag: string,
    signal?: AbortSignal,
    retry: RetryOptions = {},
  ): Promise<void> {
    const reference = `${this.#repository(image)}@${digest}`;
    const action = `tagging ${reference} as ${tag}`;
    await this.#client.read(["tag", reference, tag], { ...retry, signal, action });
  }

  /**
   * Returns the digest of the manifest or index that a tag names now, hashed here; null where there
   * is no such tag.
   * @throws RegistryError
   */
  async resolveTag(
    image: string,
    tag: string,
    signal?: AbortSignal,
    retry: RetryOptions = {},
  ): Promise<Digest | null> {
    try {
      const found = await pullTag(this.#client, this.#repository(image), tag, { ...retry, signal });
      return found.digest;
    } catch (error) {
      if (error instanceof RegistryError && error.problem === "absent") return null;
      throw error;
    }
  }

  /** Removes a tag, but not what it points at; succeeds where there is none. */
  async untag(image: string, tag: string, signal?: AbortSignal, retry: RetryOptions = {}): Promise<void> {
    const reference = `${this.#repository(image)}:${tag}`;
    try {
      await this.#client.read(["delete", reference], { ...retry, signal, action: `removing ${reference}` });
    } catch (error) {
      if (!(error instanceof RegistryError) || error.problem !== "absent") throw error;
    }
  }

  /**
   * Finds what the registry lacks of the image with this manifest or index, though it may have the
   * digest.
   * @throws RegistryError where the registry does not answer
   */
  async audit(
    image: string,
    digest: Digest,
    options: RequestOptions = {},
  ): Promise<readonly RegistryDamage[]> {
    const client = this.#client.forImage(options);
    return await auditRegistryImage(client, this.#repository(image), digest, options);
  }

  #repository(image: string): string {
    const repository = repositoryIn(this.address, image);
    if (repository !== null) return repository;
    const reason = "no registry can have an image of that name";
    throw registryError("absent", `${image} at ${this.address}`, reason);
  }
}

/**
 * Sends blobs that a registry has lost below a manifest that it still has. The client takes such a
 * manifest for whole, so another manifest with the same blobs is pushed, which no tag names.
 */
async function sendBlobsAgain(
  client: RegistryClient,
  repository: string,
  manifest: ImageManifest,
  layout: string,
  request: RequestOptions,
): Promise<void> {
  const json = JSON.parse((await readBlob(layoutBlobPath(layout, manifest.digest), manifest)).toString());
  const carrier = documentOf(
    mediaTypes.manifest,
    Buffer.from(JSON.stringify({ ...json, annotations: { "stagex.blobs-sent-again": randomUUID() } })),
  );
  await writeFile(layoutBlobPath(layout, carrier.digest), carrier.bytes);
  await selectImage(layout, carrier);
  const action = `sending the blobs of ${repository}@${manifest.digest} again`;
  const args = ["push", layout, `${repository}@${carrier.digest}`];
  await client.read(args, { ...request, action, size: sizeOf(manifest) });
}

function sizeOf({ config, layers }: ImageManifest): number {
  return [config, ...layers].reduce((sum, { size }) => sum + size, 0);
}

/** Makes this manifest the only image of a layout folder. */
async function selectImage(layout: string, manifest: Descriptor): Promise<void> {
  await writeFile(join(layout, "index.json"), layoutIndexJson(manifest));
}
