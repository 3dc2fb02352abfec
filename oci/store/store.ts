import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { statOf } from "../../lib/fs/file-stamp.ts";
import { pruneFolder } from "../../lib/fs/prune-folder.ts";
import { type BlobCheck, readBlob } from "../blob.ts";
import { type Descriptor, mediaTypes } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import {
  blobsOf,
  hasExactPlatforms,
  type Image,
  type ImageManifest,
  readImage,
  readManifest,
  requirePlatforms,
} from "../image.ts";
import { parseIndex } from "../image-documents.ts";
import { layoutBlobPath, layoutMarker, openLayout } from "../layout.ts";
import { LayoutError } from "../layout-error.ts";
import { auditImage, auditLayers } from "./image-audit.ts";
import { ImageExports, readIfRegular } from "./image-exports.ts";
import { ImageRecords } from "./image-records.ts";
import { type Damage, StoredBlobs } from "./stored-blobs.ts";
import { leftoverBounds, temporaryPath } from "./temporary-files.ts";

export type AdoptOptions = {
  /** True if each layer must unpack to the diff_id in its config. */
  readonly diffIds?: boolean;
  /**
   * Returns a further check of a layer, undefined for none. It reads the layer in the same pass as
   * its digest, and also when the store has it already.
   */
  readonly layerCheck?: (layer: Digest) => BlobCheck | undefined;
  /** The platforms that the image must be for, and no others; any where not given. */
  readonly platforms?: readonly string[];
  readonly signal?: AbortSignal;
};

/** Enough to look into what has become of a disk's blobs: 100 of them, up to 4 GiB, for 30 days. */
const damagedBounds = { count: 100, bytes: 4 * 1024 ** 3, maxAge: 30 * leftoverBounds.maxAge };

/**
 * The store's own index.json lists nothing: images are found by digest, and a shared list would
 * need a lock.
 */
const emptyIndex = `${JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] })}\n`;

/**
 * The content-addressed store of images. Its folder is an OCI layout that
 * `buildctl --oci-layout store=<root>` reads:
 *
 *     oci-layout, index.json           constant
 *     blobs/sha256/<hex>               every blob, once, read-only; never there before it is whole
 *     images/<manifest>/<index>.json   the index.json an image came with, for each of its
 *                                      platforms' manifests; written last, so the image was whole
 *     damaged/                         blobs that an audit put aside
 *     tmp/                             not yet whole
 *
 * Any number of processes may use it at once, and may be killed at any moment.
 */
export class Store {
  readonly root: string;
  readonly #blobs: StoredBlobs;
  readonly #records: ImageRecords;
  readonly #exports: ImageExports;
  /**
   * Images whose documents this process has read. They are good as long as those files are the
   * same.
   */
  readonly #images = new Map<Digest, Image>();

  private constructor(root: string) {
    this.root = root;
    this.#blobs = new StoredBlobs(root);
    this.#records = new ImageRecords(root);
    this.#exports = new ImageExports(this.#blobs);
  }

  /** Opens the store in this folder; creates it where there is none. */
  static async open(root: string): Promise<Store> {
    for (const folder of ["blobs/sha256", "images", "damaged", "tmp"]) {
      await mkdir(join(root, folder), { recursive: true });
    }
    await writeConstant(root, "oci-layout", layoutMarker);
    await writeConstant(root, "index.json", emptyIndex);
    await pruneFolder(join(root, "tmp"), leftoverBounds);
    await pruneFolder(join(root, "damaged"), damagedBounds);
    return new Store(root);
  }

  /** Returns where a blob is, or would be. */
  blobPath(digest: Digest): string {
    return this.#blobs.pathOf(digest);
  }

  /**
   * Adds the image of an OCI layout folder, and verifies every byte of it. Blobs are linked where
   * the folder is on the store's file system, and copied elsewhere. A blob that the store has is
   * verified instead, and replaced where it is damaged. An index comes in after all that it names.
   * The folder is left as it was.
   * @throws LayoutError where the layout is not whole; also what a `layerCheck` throws. The store
   * then has no more than a few blobs that no index names.
   */
  async adopt(layout: string, options: AdoptOptions = {}): Promise<Image> {
    const { signal } = options;
    const { image: descriptor, indexJson } = await openLayout(layout);
    const pathOf = (digest: Digest) => layoutBlobPath(layout, digest);
    const documents: { blob: Descriptor; bytes: Buffer }[] = [];
    const image = await readImage(descriptor, {
      pathOf,
      readDocument: async (blob) => {
        signal?.throwIfAborted();
        const bytes = await readBlob(pathOf(blob.digest), blob);
        documents.push({ blob, bytes });
        return bytes;
      },
      verifyLayer: async (blob, diffId) => {
        const check = options.layerCheck?.(blob.digest);
        const checks = { diffId: options.diffIds === true ? diffId : null, check };
        await this.#blobs.add(pathOf(blob.digest), blob, checks, signal);
      },
    });
    if (options.platforms) requirePlatforms(image, options.platforms, layout);
    // Documents were read from the index down; parents come in after their children.
    for (const { blob, bytes } of documents.reverse()) {
      if (!(await this.#blobs.has(blob))) await this.#blobs.write(blob, bytes);
    }
    // Once for all: an index that a power failure leaves without its children has no record yet.
    await this.#blobs.sync();
    for (const { digest } of image.manifests) await this.#records.write(digest, image.index, indexJson);
    this.#images.set(image.index, image);
    return image;
  }

  /**
   * Reads the stored image with this index. Its documents are verified; its layers are only checked
   * to be there in the right size. {@link audit} reads them too.
   * @throws LayoutError that names what is missing or wrong
   */
  async readImage(index: Digest): Promise<Image> {
    const known = this.#images.get(index);
    const image = known && this.#isUnchanged(known) ? known : await this.#readDocuments(index);
    for (const { layers } of image.manifests) for (const layer of layers) this.#blobs.requireSize(layer);
    return image;
  }

  /**
   * Finds the stored image with this platform's manifest, whose digest StageX publishes.
   * @param platforms those that it must be for, and no others; any where not given
   * @returns null where there is none
   */
  async find(manifest: Digest, platforms?: readonly string[]): Promise<Image | null> {
    for (const index of this.#records.indexesOf(manifest)) {
      const image = await this.#readIfWhole(index);
      if (!image?.manifests.some((found) => found.digest === manifest)) continue;
      if (platforms === undefined || hasExactPlatforms(image, platforms)) return image;
    }
    return null;
  }

  /**
   * Returns the files on which the result of {@link find} depends: as long as they are the same, it
   * finds `image` again. Where no image has come in, that is the folder of its records.
   * @returns null where an image has come in and is not whole
   */
  filesBehind(manifest: Digest, image: Image | null): string[] | null {
    const folder = this.#records.folderOf(manifest);
    if (image === null) return statOf(folder) ? null : [folder];
    const blobs = blobsOf(image).map(({ digest }) => this.blobPath(digest));
    return [this.#records.pathOf(manifest, image.index), ...blobs];
  }

  /**
   * Returns whether an image with this manifest and index has come in. Its blobs may be damaged
   * since.
   */
  hasRecord(manifest: Digest, index: Digest): boolean {
    return this.#records.has(manifest, index);
  }

  /**
   * Returns whether the store has this blob, whole. A blob that this process has read is read again
   * only if its file has changed.
   */
  async has(blob: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return await this.#blobs.has(blob, null, signal);
  }

  /**
   * Reads every blob of an image again, and puts damaged ones aside.
   * @returns an empty list where the image is whole
   */
  async audit(index: Digest, signal?: AbortSignal): Promise<readonly Damage[]> {
    return await this.#audit(index, { isAnew: true, signal });
  }

  /**
   * Does the same for the image with this index or platform's manifest, but reads no blob again
   * that this process has read and whose file is the same by inode, size and time.
   */
  async inspect(digest: Digest, signal?: AbortSignal): Promise<readonly Damage[]> {
    const image = await this.find(digest);
    // All of a found image but its layers has been read and hashed.
    if (image) return await auditLayers(this.#blobs, image.manifests, signal);
    const [index = digest] = this.#records.indexesOf(digest);
    return await this.#audit(index, { isAnew: false, signal });
  }

  /**
   * Writes an image to a folder of its own, as StageX's scripts expect it in `out/<image>/`:
   * `oci-layout`, `index.json` with the annotations it was built with, and its blobs, linked to the
   * store's where possible. Every blob is verified first. The folder is replaced in one step, and
   * left alone where it has the image already. It is not flushed to the disk: after a power failure
   * it is written again.
   */
  async export(index: Digest, folder: string, signal?: AbortSignal): Promise<void> {
    const image = await this.readImage(index);
    const blobs = blobsOf(image);
    for (const blob of blobs) await this.#blobs.verify(blob, signal);
    const indexJson = await this.#records.readIndexJson(image);
    await this.#exports.write(folder, { blobs, indexJson }, signal);
  }

  /**
   * Removes a folder that {@link export} wrote, if it has that image (any, where none is given).
   * The store keeps the blobs, which other images may share. Does nothing where there is no image.
   */
  async removeExport(folder: string, index?: Digest): Promise<void> {
    await this.#exports.remove(folder, index);
  }

  async #audit(
    index: Digest,
    options: { readonly isAnew: boolean; readonly signal: AbortSignal | undefined },
  ): Promise<readonly Damage[]> {
    const { manifests, damages } = await auditImage(this.#blobs, index, options);
    if (manifests !== null) this.#keep(index, manifests);
    return damages;
  }

  async #readDocuments(index: Digest): Promise<Image> {
    const manifests: ImageManifest[] = [];
    const bytes = await this.#blobs.readDocument({ digest: index });
    for (const entry of parseIndex(bytes, this.blobPath(index), index))
      manifests.push((await readManifest(entry, this.#blobs)).manifest);
    return this.#keep(index, manifests);
  }

  #keep(index: Digest, manifests: readonly ImageManifest[]): Image {
    const image = { index, indexSize: statSync(this.blobPath(index)).size, manifests };
    this.#images.set(index, image);
    return image;
  }

  #isUnchanged({ index, manifests }: Image): boolean {
    const documents = [index, ...manifests.flatMap(({ digest, config }) => [digest, config.digest])];
    return documents.every((digest) => this.#blobs.isVerified(digest));
  }

  async #readIfWhole(index: Digest): Promise<Image | null> {
    try {
      return await this.readImage(index);
    } catch (error) {
      // An image that is no longer whole is not found, and is built again.
      if (error instanceof LayoutError) return null;
      throw error;
    }
  }
}

async function writeConstant(root: string, name: string, text: string): Promise<void> {
  const path = join(root, name);
  if ((await readIfRegular(path))?.toString("utf8") === text) return;
  await replaceFile(path, text, { temporary: temporaryPath(root), mode: 0o644 });
}
