import { randomUUID } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { chmod, link, lstat, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { stampOf, statOf } from "../../lib/fs/file-stamp.ts";
import { pruneFolder } from "../../lib/fs/prune-folder.ts";
import { RegularFileError, readRegularFile } from "../../lib/fs/regular-file.ts";
import {
  type BlobCheck,
  checkBlob,
  checkLayer,
  copyBlob,
  jsonLimit,
  readBlob,
  readLayoutFile,
} from "../blob.ts";
import { type Digest, hexOf, parseDigest } from "../digest.ts";
import { readExportedIndex } from "../exported-folder.ts";
import {
  blobsOf,
  type Descriptor,
  hasExactPlatforms,
  type Image,
  type IndexEntry,
  mediaTypes,
  parseIndex,
  parseLayoutIndex,
  readImage,
  readManifest,
  requirePlatforms,
} from "../image.ts";
import { layoutBlobPath, layoutMarker, openLayout } from "../layout.ts";
import { LayoutError, type LayoutProblem } from "../layout-error.ts";

/** One blob of a stored image that is not what it should be. */
export type Damage = {
  readonly digest: Digest;
  readonly problem: LayoutProblem;
  /** Says which file and what is wrong with it. */
  readonly message: string;
  /** Where the wrong bytes were put, so that nothing passes them on; null where there were none. */
  readonly putAside: string | null;
};

export type AdoptOptions = {
  /** Whether each layer must unpack to what its config says. */
  readonly diffIds?: boolean;
  /** What else a layer must pass, read in the same pass as its digest; undefined where nothing else. Also asked of those that are stored. */
  readonly layerCheck?: (layer: Digest) => BlobCheck | undefined;
  /** Which platforms it must be for, and no others; any where not given. */
  readonly platforms?: readonly string[];
  readonly signal?: AbortSignal;
};

/** Litter of killed processes is swept after this time; no blob takes that long to come in. */
const litterAge = 24 * 60 * 60 * 1000;

/** Enough to look into what has become of a disk's blobs. */
const damagedBounds = { count: 100, bytes: 4 * 1024 ** 3, maxAge: 30 * litterAge };

/** The store's own index.json lists nothing: images are found by digest, and a shared list would need a lock. */
const emptyIndex = `${JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] })}\n`;

/** In bytes; writing a smaller blob to the disk takes no time worth overlapping. */
const largeBlob = 64 * 1024 * 1024;

/**
 * The one content-addressed store of images. Its folder is an OCI layout that
 * `buildctl --oci-layout store=<root>` reads:
 *
 *     oci-layout, index.json     constant
 *     blobs/sha256/<hex>         every blob, once, read-only; never there before it is whole
 *     images/<manifest>/<index>.json   the index.json an image came with, filed under each of its platforms' manifests;
 *                                written last, so it also says that the image was whole
 *     damaged/                   blobs that an audit put aside: the last 100, up to 4 GiB, for 30 days
 *     tmp/                       not yet whole
 *
 * Any number of processes may use it at once, and be killed.
 */
export class Store {
  readonly root: string;
  /** Blobs that this process has hashed: digest to a stamp of the file, so that none is read twice in a run. */
  readonly #checked = new Map<Digest, string>();
  /** Images whose documents this process has read: good as long as those are the files that it has hashed. */
  readonly #images = new Map<Digest, Image>();
  /** Folders that this process has exported images to, and cleared of what killed ones left there. */
  readonly #swept = new Set<string>();

  private constructor(root: string) {
    this.root = root;
  }

  /** Opens the store in this folder, and makes it if there is none. */
  static async open(root: string): Promise<Store> {
    for (const folder of ["blobs/sha256", "images", "damaged", "tmp"]) {
      await mkdir(join(root, folder), { recursive: true });
    }
    const store = new Store(root);
    await store.#writeConstant("oci-layout", layoutMarker);
    await store.#writeConstant("index.json", emptyIndex);
    await sweep(join(root, "tmp"), () => true);
    await pruneFolder(join(root, "damaged"), damagedBounds);
    return store;
  }

  /** Where a blob is, or would be. */
  blobPath(digest: Digest): string {
    return layoutBlobPath(this.root, digest);
  }

  /**
   * Takes in the image of an OCI layout folder, verifying every byte of it on the way. Blobs are linked where the
   * folder is on the store's file system, else copied; what the store has already is checked instead of taken, and
   * replaced if damaged. An index never comes in before all it names. The folder is left as it was.
   * @throws LayoutError where the layout is not whole, and what a `layerCheck` throws; the store is then as it was, but for blobs no
   * index names.
   */
  async adopt(layout: string, options: AdoptOptions = {}): Promise<Image> {
    const { image: descriptor, indexJson } = await openLayout(layout);
    const pathOf = (digest: Digest) => layoutBlobPath(layout, digest);
    const documents: { blob: Descriptor; bytes: Buffer }[] = [];
    const image = await readImage(descriptor, {
      pathOf,
      readDocument: async (blob) => {
        options.signal?.throwIfAborted();
        const bytes = await readBlob(pathOf(blob.digest), blob);
        documents.push({ blob, bytes });
        return bytes;
      },
      verifyLayer: (blob, diffId) => this.#take(pathOf(blob.digest), blob, diffId, options),
    });
    if (options.platforms) requirePlatforms(image, options.platforms, layout);
    // They were read from the index down; parents come in after their children.
    for (const { blob, bytes } of documents.reverse()) {
      if (await this.#holds(blob)) continue;
      this.#remember(blob.digest, await this.#write(this.blobPath(blob.digest), bytes, 0o444));
    }
    // Once: an index that a power failure leaves without its children is none that an image is filed under.
    await syncFolder(join(this.root, "blobs", "sha256"));
    for (const manifest of image.manifests) await this.#file(manifest.digest, image.index, indexJson);
    this.#images.set(image.index, image);
    return image;
  }

  /**
   * The stored image with this index. Its documents are verified, its layers only found to be there in the right
   * size: {@link audit} reads them too.
   * @throws LayoutError that names what is missing or wrong.
   */
  async readImage(index: Digest): Promise<Image> {
    const known = this.#images.get(index);
    const image = known && this.#isAsRead(known) ? known : await this.#read(index);
    for (const { layers } of image.manifests) for (const layer of layers) this.#expectSize(layer);
    return image;
  }

  async #read(index: Digest): Promise<Image> {
    const manifests = [];
    for (const entry of await this.#entries(index))
      manifests.push((await readManifest(entry, this.#documents())).manifest);
    return this.#hasRead(index, manifests);
  }

  #hasRead(index: Digest, manifests: Image["manifests"]): Image {
    const image = { index, indexSize: statSync(this.blobPath(index)).size, manifests };
    this.#images.set(index, image);
    return image;
  }

  #isAsRead({ index, manifests }: Image): boolean {
    const documents = [index, ...manifests.flatMap(({ digest, config }) => [digest, config.digest])];
    return documents.every((digest) => {
      const stamp = this.#checked.get(digest);
      return stamp !== undefined && stamp === stampOf(this.blobPath(digest));
    });
  }

  /**
   * The stored image that holds this platform's manifest, which is the digest StageX publishes; null if there is none.
   * @param platforms which it must be for, and no others; any where not given
   */
  async find(manifest: Digest, platforms?: readonly string[]): Promise<Image | null> {
    for (const index of await this.#filedUnder(manifest)) {
      const image = await this.#candidate(index);
      if (!image?.manifests.some((found) => found.digest === manifest)) continue;
      if (platforms === undefined || hasExactPlatforms(image, platforms)) return image;
    }
    return null;
  }

  /**
   * The files that say what {@link find} finds of this manifest: as long as they stay as they are, it finds `image` again. All of an image's or, where
   * none was ever filed, the folder that it would be filed in; null where one was filed and is not whole.
   */
  filesBehind(manifest: Digest, image: Image | null): string[] | null {
    const folder = this.#imagesOf(manifest);
    if (image === null) return statOf(folder) ? null : [folder];
    const blobs = blobsOf(image).map(({ digest }) => this.blobPath(digest));
    return [this.#indexJsonPath(manifest, image.index), ...blobs];
  }

  /** Whether an image with this manifest and index has come in. What has become of its blobs since is not looked at. */
  hasRecord(manifest: Digest, index: Digest): boolean {
    return statOf(this.#indexJsonPath(manifest, index)) !== undefined;
  }

  /** Whether the store has this blob, whole; one that this process has read, and whose file is still the same, is not read again. */
  async has(blob: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return await this.#holds(blob, null, signal);
  }

  /** Reads every blob of an image again. What is damaged is put aside. An empty list means that the image is whole. */
  async audit(index: Digest, signal?: AbortSignal): Promise<Damage[]> {
    return await this.#damages(index, { isAnew: true, signal });
  }

  /**
   * What is damaged of the image with this index or platform's manifest, put aside as by {@link audit}; but a blob that
   * this process has read, and whose file is still the same by inode, size and times, is not read again.
   */
  async inspect(reference: Digest, signal?: AbortSignal): Promise<Damage[]> {
    const whole = await this.find(reference);
    // Those that it finds are as read and hashed by this process, but for their layers.
    if (whole) return await this.#layerDamages(whole.manifests, signal);
    const [filed = reference] = await this.#filedUnder(reference);
    return await this.#damages(filed, { isAnew: false, signal });
  }

  async #damages(
    index: Digest,
    { isAnew, signal }: { isAnew: boolean; signal: AbortSignal | undefined },
  ): Promise<Damage[]> {
    const damages: Damage[] = [];
    const entries = (await this.#noting(damages, () => this.#entries(index))) ?? [];
    const manifests = [];
    for (const entry of entries) {
      const found = await this.#noting(damages, () => readManifest(entry, this.#documents()));
      if (found) manifests.push(found.manifest);
    }
    if (damages.length === 0) this.#hasRead(index, manifests);
    if (isAnew)
      for (const { layers } of manifests) for (const { digest } of layers) this.#checked.delete(digest);
    return [...damages, ...(await this.#layerDamages(manifests, signal))];
  }

  async #layerDamages(manifests: Image["manifests"], signal?: AbortSignal): Promise<Damage[]> {
    const damages: Damage[] = [];
    const layers = new Map(manifests.flatMap(({ layers }) => layers).map((layer) => [layer.digest, layer]));
    for (const layer of layers.values()) await this.#noting(damages, () => this.#check(layer, signal));
    return damages;
  }

  /** What it gives; where a blob is not as it should be, null, with that blob put aside and noted. */
  async #noting<T>(damages: Damage[], work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      damages.push(await this.#putAside(error));
      return null;
    }
  }

  /**
   * Writes an image to a folder of its own, as StageX's scripts expect it in `out/<image>/`: `oci-layout`, `index.json`
   * with the annotations it was built with, and its blobs, linked to the store's (copied where they can't be).
   * Replaces what was there in one step; a folder that has it already is left alone. Every blob is checked first.
   * It is a view of the store, and not flushed to the disk: what a power failure takes of it is written again.
   */
  async export(index: Digest, folder: string, signal?: AbortSignal): Promise<void> {
    const image = await this.readImage(index);
    const blobs = blobsOf(image);
    for (const blob of blobs) await this.#check(blob, signal);
    const indexJson = await this.#indexJsonOf(image);
    if (await this.#isExported(folder, blobs, indexJson)) return;

    const parent = dirname(folder);
    const litter = `.${basename(folder)}.`;
    await this.#sweepExports(parent);
    const temporary = join(parent, `${litter}${randomUUID()}.exporting`);
    try {
      // At once: the ways through the thread pool are longer than all of it. One folder by one: with "recursive", Node calls a read-only
      // file system a missing file.
      for (const made of [temporary, join(temporary, "blobs"), join(temporary, "blobs", "sha256")])
        mkdirSync(made);
      for (const blob of blobs) {
        await linkOrCopy(this.blobPath(blob.digest), blob, layoutBlobPath(temporary, blob.digest), signal);
      }
      writeFileSync(join(temporary, "oci-layout"), layoutMarker);
      writeFileSync(join(temporary, "index.json"), indexJson);
      await replaceFolder(temporary, folder, join(parent, `${litter}${randomUUID()}.exporting`));
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  /** Once for each folder, which may hold as many images as a release has. */
  async #sweepExports(folder: string): Promise<void> {
    if (this.#swept.has(folder)) return;
    await mkdir(folder, { recursive: true });
    await sweep(folder, (name) => name.startsWith(".") && name.endsWith(".exporting"));
    this.#swept.add(folder);
  }

  /**
   * Removes what {@link export} wrote to a folder, if it is that image which is there (any, where none is given). The
   * store itself keeps the blobs, which other images may share. Nothing happens where there is nothing, or no image.
   */
  async removeExport(folder: string, index?: Digest): Promise<void> {
    const found = readExportedIndex(folder);
    if (found === null || (index !== undefined && found !== index)) return;
    const withdrawn = join(dirname(folder), `.${basename(folder)}.${randomUUID()}.exporting`);
    await rename(folder, withdrawn).catch(ifMissing(undefined));
    await rm(withdrawn, { recursive: true, force: true });
  }

  /** Brings one layer in. A linked one is hashed through its source's name, so that errors name the layout's file. */
  async #take(source: string, blob: Descriptor, config: Digest, options: AdoptOptions): Promise<void> {
    const { signal } = options;
    const diffId = options.diffIds === true ? config : null;
    const check = options.layerCheck?.(blob.digest);
    if (await this.#holds(blob, diffId, signal)) {
      if (check) await checkBlob(source, blob, signal, check);
      return;
    }
    const temporary = this.#temporary();
    try {
      const linked = await linkOrCopy(source, blob, temporary, signal);
      const stamp = stampOf(temporary);
      // The disk writes a large layer while it is hashed: of gigabytes, either takes half a minute.
      const written = blob.size > largeBlob ? syncFile(temporary) : undefined;
      written?.catch(() => {});
      if (diffId !== null) await checkLayer(source, blob, diffId, signal);
      if (check || (linked && diffId === null)) await checkBlob(source, blob, signal, check);
      await written;
      await chmod(temporary, 0o444);
      await syncFile(temporary);
      await rename(temporary, this.blobPath(blob.digest));
      this.#remember(blob.digest, stamp);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Whether the store has the blob, whole. */
  async #holds(blob: Descriptor, diffId: Digest | null = null, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#check(blob, signal);
      if (diffId !== null) await checkLayer(this.blobPath(blob.digest), blob, diffId, signal);
      return true;
    } catch (error) {
      if (error instanceof LayoutError) return false;
      throw error;
    }
  }

  async #check(blob: Descriptor, signal?: AbortSignal): Promise<void> {
    const path = this.blobPath(blob.digest);
    const stamp = stampOf(path);
    if (stamp === (this.#checked.get(blob.digest) ?? null)) {
      this.#expectSize(blob);
      return;
    }
    await checkBlob(path, blob, signal);
    this.#remember(blob.digest, stamp);
  }

  /** @param stamp from before the blob was read: of a file that has changed since, nothing is remembered */
  #remember(digest: Digest, stamp: string | null): void {
    if (stamp !== null) this.#checked.set(digest, stamp);
  }

  #expectSize(blob: Descriptor): void {
    const path = this.blobPath(blob.digest);
    const found = statOf(path);
    if (!found) throw new LayoutError("missing", path, blob.digest, `${path}: is missing`);
    if (!found.isFile()) {
      throw new LayoutError("not-a-file", path, blob.digest, `${path}: is not a regular file`);
    }
    if (found.size !== BigInt(blob.size)) {
      const problem = found.size < blob.size ? "truncated" : "oversized";
      const message = `${path}: ${problem}: has ${found.size} bytes, its descriptor says ${blob.size}`;
      throw new LayoutError(problem, path, blob.digest, message);
    }
  }

  async #entries(index: Digest): Promise<readonly IndexEntry[]> {
    return parseIndex(await this.#document({ digest: index }), this.blobPath(index), index);
  }

  #documents() {
    return {
      pathOf: (digest: Digest) => this.blobPath(digest),
      readDocument: (blob: Descriptor) => this.#document(blob),
    };
  }

  async #document(blob: { digest: Digest; size?: number }): Promise<Buffer> {
    const path = this.blobPath(blob.digest);
    const stamp = stampOf(path);
    const bytes = await readBlob(path, blob);
    this.#remember(blob.digest, stamp);
    return bytes;
  }

  /**
   * Moves a wrong blob out of the way. A process that is adopting the same blob may just have put a right one in its
   * place: that one goes back.
   */
  async #putAside(error: LayoutError): Promise<Damage> {
    const { digest, problem, message } = error;
    if (digest === null) throw error;
    const path = this.blobPath(digest);
    const aside = join(this.root, "damaged", `${hexOf(digest)}-${randomUUID()}`);
    const moved = await rename(path, aside).then(() => true, ifMissing(false));
    if (!moved) return { digest, problem, message, putAside: null };
    const intact = await readRight(aside, digest);
    if (intact) {
      await link(aside, path).catch(ifExists(undefined));
      await rm(aside, { force: true });
    }
    return { digest, problem, message, putAside: intact ? null : aside };
  }

  #imagesOf(manifest: Digest): string {
    return join(this.root, "images", hexOf(manifest));
  }

  #indexJsonPath(manifest: Digest, index: Digest): string {
    return join(this.#imagesOf(manifest), `${hexOf(index)}.json`);
  }

  async #file(manifest: Digest, index: Digest, indexJson: Buffer): Promise<void> {
    const folder = this.#imagesOf(manifest);
    await mkdir(folder, { recursive: true });
    await this.#write(this.#indexJsonPath(manifest, index), indexJson, 0o644);
    await syncFolder(folder);
  }

  /** The indexes of the images that came in with this manifest, whole or not by now. */
  async #filedUnder(manifest: Digest): Promise<Digest[]> {
    const names = namesIn(this.#imagesOf(manifest));
    const filed = names.filter((name) => /^[0-9a-f]{64}\.json$/.test(name)).sort();
    return filed.map((name) => parseDigest(`sha256:${basename(name, ".json")}`));
  }

  async #candidate(index: Digest): Promise<Image | null> {
    try {
      return await this.readImage(index);
    } catch (error) {
      // Not whole any more: then it is not found, and will be built again.
      if (error instanceof LayoutError) return null;
      throw error;
    }
  }

  async #indexJsonOf(image: Image): Promise<Buffer> {
    const [first] = image.manifests;
    const path = this.#indexJsonPath(first?.digest ?? image.index, image.index);
    const indexJson = await readLayoutFile(path);
    if (parseLayoutIndex(indexJson, path).digest !== image.index) {
      throw new LayoutError(
        "malformed",
        path,
        image.index,
        `${path}: names another image than ${image.index}`,
      );
    }
    return indexJson;
  }

  async #isExported(folder: string, blobs: readonly Descriptor[], indexJson: Buffer): Promise<boolean> {
    if (statOf(folder) === undefined) return false;
    if ((await smallFile(join(folder, "index.json")))?.equals(indexJson) !== true) return false;
    if ((await smallFile(join(folder, "oci-layout")))?.toString("utf8") !== layoutMarker) return false;
    for (const blob of blobs) {
      if (!sameFile(this.blobPath(blob.digest), layoutBlobPath(folder, blob.digest))) return false;
    }
    return true;
  }

  #temporary(): string {
    return join(this.root, "tmp", randomUUID());
  }

  async #writeConstant(name: string, text: string): Promise<void> {
    const path = join(this.root, name);
    if ((await smallFile(path))?.toString("utf8") !== text) await this.#write(path, text, 0o644);
  }

  /** @returns the stamp of the file, whose bytes are those that were given */
  async #write(path: string, content: Buffer | string, mode: number): Promise<string | null> {
    const temporary = this.#temporary();
    try {
      await writeSynced(temporary, content, mode);
      const stamp = stampOf(temporary);
      await rename(temporary, path);
      return stamp;
    } finally {
      await rm(temporary, { force: true });
    }
  }
}

/** A document of a layout folder; null where there is none that could be one. */
async function smallFile(path: string): Promise<Buffer | null> {
  return await readRegularFile(path, jsonLimit).catch((error: unknown) => {
    if (error instanceof RegularFileError) return null;
    return ifMissing(null)(error);
  });
}

/** Links a file, unchecked, and says true; where it can't be linked, copies it, checked on the way, and says false. */
async function linkOrCopy(
  source: string,
  blob: Descriptor,
  target: string,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    linkSync(source, target);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      throw new LayoutError("missing", source, blob.digest, `${source}: is missing`);
    }
    if (!["EXDEV", "EMLINK", "EPERM", "ENOTSUP"].includes(codeOf(error))) throw error;
    await copyBlob(source, blob, target, signal);
    await chmod(target, 0o444);
    await syncFile(target);
    return false;
  }
}

/**
 * Puts a folder in another's place. There is a moment without any, but never one with half a folder.
 * A process that does the same meanwhile wins or loses as a whole.
 */
async function replaceFolder(temporary: string, folder: string, old: string): Promise<void> {
  for (let tries = 0; tries < 10; tries += 1) {
    if (tookPlace(temporary, folder)) return;
    await rename(folder, old).catch(ifMissing(undefined));
    const isDone = tookPlace(temporary, folder);
    await rm(old, { recursive: true, force: true });
    if (isDone) return;
  }
  throw new Error(`${folder}: others write to it all the time`);
}

/** Renames a folder; false where something is in the place already. */
function tookPlace(folder: string, place: string): boolean {
  try {
    renameSync(folder, place);
    return true;
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(codeOf(error))) throw error;
    return false;
  }
}

/** Removes what a killed process left behind. */
async function sweep(folder: string, isLitter: (name: string) => boolean): Promise<void> {
  for (const name of (await readdir(folder)).filter(isLitter)) {
    const path = join(folder, name);
    const found = await lstat(path).catch(ifMissing(null));
    // A linked blob keeps its time of writing; linking it changes only the time of the inode.
    if (found !== null && Date.now() - found.ctimeMs > litterAge)
      await rm(path, { recursive: true, force: true });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    return ifMissing([])(error);
  }
}

function sameFile(first: string, second: string): boolean {
  const [a, b] = [statOf(first), statOf(second)];
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

async function readRight(path: string, digest: Digest): Promise<boolean> {
  const { size } = await lstat(path);
  return checkBlob(path, { mediaType: "", digest, size }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof LayoutError) return false;
      throw error;
    },
  );
}

async function writeSynced(path: string, content: Buffer | string, mode = 0o644): Promise<void> {
  await writeFile(path, content, { flag: "wx", mode, flush: true });
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const syncFolder = syncFile;

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function ifMissing<T>(value: T) {
  return (error: unknown): T => {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(error))) return value;
    throw error;
  };
}

function ifExists<T>(value: T) {
  return (error: unknown): T => {
    if (codeOf(error) === "EEXIST") return value;
    throw error;
  };
}
