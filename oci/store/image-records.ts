import { readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { replaceFile, syncToDisk } from "../../lib/fs/atomic-write.ts";
import { ifMissing } from "../../lib/fs/error-code.ts";
import { statOf } from "../../lib/fs/file-stamp.ts";
import { readLayoutFile } from "../blob.ts";
import { type Digest, hexOf, parseDigest } from "../digest.ts";
import type { Image } from "../image.ts";
import { parseLayoutIndex } from "../image-documents.ts";
import { LayoutError } from "../layout-error.ts";
import { temporaryPath } from "./temporary-files.ts";

/**
 * The records of a store's images: `images/<manifest>/<index>.json` is the index.json that an image
 * came with. It is written after all blobs, so it also means that the image was whole.
 */
export class ImageRecords {
  readonly #root: string;

  /** @param root the store's folder */
  constructor(root: string) {
    this.#root = root;
  }

  /** Returns the folder with the records of all images that have this manifest. */
  folderOf(manifest: Digest): string {
    return join(this.#root, "images", hexOf(manifest));
  }

  pathOf(manifest: Digest, index: Digest): string {
    return join(this.folderOf(manifest), `${hexOf(index)}.json`);
  }

  /** Returns whether an image with this manifest and index has come in. */
  has(manifest: Digest, index: Digest): boolean {
    return statOf(this.pathOf(manifest, index)) !== undefined;
  }

  /** Returns the indexes of the images that came in with this manifest, whole or not by now. */
  indexesOf(manifest: Digest): Digest[] {
    const files = namesIn(this.folderOf(manifest)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
    return files.sort().map((name) => parseDigest(`sha256:${basename(name, ".json")}`));
  }

  async write(manifest: Digest, index: Digest, indexJson: Buffer): Promise<void> {
    const folder = this.folderOf(manifest);
    await mkdir(folder, { recursive: true });
    const temporary = temporaryPath(this.#root);
    await replaceFile(this.pathOf(manifest, index), indexJson, { temporary, mode: 0o644 });
    await syncToDisk(folder);
  }

  /**
   * Reads the index.json that an image came with.
   * @throws LayoutError where it is missing, or names another image
   */
  async readIndexJson(image: Image): Promise<Buffer> {
    const [first] = image.manifests;
    const path = this.pathOf(first?.digest ?? image.index, image.index);
    const indexJson = await readLayoutFile(path);
    if (parseLayoutIndex(indexJson, path).digest === image.index) return indexJson;
    const message = `${path}: names another image than ${image.index}`;
    throw new LayoutError("malformed", path, image.index, message);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    return ifMissing([])(error);
  }
}
