import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { mkdir, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errorCode, ifMissing } from "../../lib/fs/error-code.ts";
import { statOf } from "../../lib/fs/file-stamp.ts";
import { pruneFolder } from "../../lib/fs/prune-folder.ts";
import { RegularFileError, readRegularFile } from "../../lib/fs/regular-file.ts";
import { jsonLimit } from "../blob.ts";
import type { Descriptor } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import { findLayoutImage, layoutBlobPath, layoutMarker } from "../layout.ts";
import { linkOrCopyBlob } from "./link-blob.ts";
import type { StoredBlobs } from "./stored-blobs.ts";
import { leftoverBounds } from "./temporary-files.ts";

/**
 * The content of an exported folder: blobs, verified, and the index.json that the image came with.
 */
export type ExportContent = { readonly blobs: readonly Descriptor[]; readonly indexJson: Buffer };

/**
 * Writes a store's images to folders of their own, as StageX's scripts expect them in
 * `out/<image>/`.
 */
export class ImageExports {
  readonly #blobs: StoredBlobs;
  /** The parent folders that this process has cleared of what killed processes left. */
  readonly #pruned = new Set<string>();

  constructor(blobs: StoredBlobs) {
    this.#blobs = blobs;
  }

  /**
   * Replaces a folder in one step, with its blobs linked to the store's; one with this content is
   * kept.
   */
  async write(folder: string, { blobs, indexJson }: ExportContent, signal?: AbortSignal): Promise<void> {
    if (await this.#isThere(folder, { blobs, indexJson })) return;
    await this.#prune(dirname(folder));
    const temporary = temporaryBeside(folder);
    try {
      // Synchronous calls: the thread pool takes longer than all of them. One folder at a time:
      // with "recursive", Node reports a missing file where the file system is read-only.
      for (const made of [temporary, join(temporary, "blobs"), join(temporary, "blobs", "sha256")])
        mkdirSync(made);
      for (const blob of blobs) {
        const target = layoutBlobPath(temporary, blob.digest);
        await linkOrCopyBlob(this.#blobs.pathOf(blob.digest), blob, target, signal);
      }
      writeFileSync(join(temporary, "oci-layout"), layoutMarker);
      writeFileSync(join(temporary, "index.json"), indexJson);
      await replaceFolder(temporary, folder);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  /** Removes a folder if it has this image, or any image where none is given. */
  async remove(folder: string, index?: Digest): Promise<void> {
    const found = findLayoutImage(folder);
    if (found === null || (index !== undefined && found !== index)) return;
    const removed = temporaryBeside(folder);
    await rename(folder, removed).catch(ifMissing(undefined));
    await rm(removed, { recursive: true, force: true });
  }

  async #isThere(folder: string, { blobs, indexJson }: ExportContent): Promise<boolean> {
    if (statOf(folder) === undefined) return false;
    if ((await readIfRegular(join(folder, "index.json")))?.equals(indexJson) !== true) return false;
    if ((await readIfRegular(join(folder, "oci-layout")))?.toString("utf8") !== layoutMarker) return false;
    return blobs.every(({ digest }) =>
      isSameFile(this.#blobs.pathOf(digest), layoutBlobPath(folder, digest)),
    );
  }

  /** Once for each parent folder, which may hold as many images as a release has. */
  async #prune(parent: string): Promise<void> {
    if (this.#pruned.has(parent)) return;
    await mkdir(parent, { recursive: true });
    await pruneFolder(await realpath(parent), leftoverBounds, isTemporary);
    this.#pruned.add(parent);
  }
}

const temporarySuffix = ".exporting";

function temporaryBeside(folder: string): string {
  return join(dirname(folder), `.${basename(folder)}.${randomUUID()}${temporarySuffix}`);
}

function isTemporary(name: string): boolean {
  return name.startsWith(".") && name.endsWith(temporarySuffix);
}

/**
 * Puts a folder in another's place. For a moment there is none, but never half a folder. Another
 * process that does the same meanwhile wins or loses as a whole.
 */
async function replaceFolder(temporary: string, folder: string): Promise<void> {
  for (let tries = 0; tries < 10; tries += 1) {
    if (renameIfFree(temporary, folder)) return;
    const old = temporaryBeside(folder);
    await rename(folder, old).catch(ifMissing(undefined));
    const isDone = renameIfFree(temporary, folder);
    await rm(old, { recursive: true, force: true });
    if (isDone) return;
  }
  throw new Error(`${folder}: other processes keep writing to it`);
}

/** Renames a folder; returns false where the new name is taken. */
function renameIfFree(folder: string, newPath: string): boolean {
  try {
    renameSync(folder, newPath);
    return true;
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errorCode(error) ?? "")) throw error;
    return false;
  }
}

/** Reads a small file; null where there is none, or something else in its place. */
export async function readIfRegular(path: string): Promise<Buffer | null> {
  return await readRegularFile(path, jsonLimit).catch((error: unknown) => {
    if (error instanceof RegularFileError) return null;
    return ifMissing(null)(error);
  });
}

function isSameFile(first: string, second: string): boolean {
  const [a, b] = [statOf(first), statOf(second)];
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev;
}
