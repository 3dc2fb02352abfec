import { randomUUID } from "node:crypto";
import { chmod, link, lstat, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile, syncToDisk } from "../../lib/fs/atomic-write.ts";
import { ifExists, ifMissing } from "../../lib/fs/error-code.ts";
import { stampOf, statOf } from "../../lib/fs/file-stamp.ts";
import { type BlobCheck, checkBlob, checkLayer, readBlob } from "../blob.ts";
import type { Descriptor } from "../descriptor.ts";
import { type Digest, hexOf } from "../digest.ts";
import type { BlobReader } from "../image.ts";
import { layoutBlobPath } from "../layout.ts";
import { LayoutError, type LayoutProblem } from "../layout-error.ts";
import { linkOrCopyBlob } from "./link-blob.ts";
import { temporaryPath } from "./temporary-files.ts";

/** In bytes; writing a smaller blob to the disk takes no time worth overlapping. */
const largeBlob = 64 * 1024 * 1024;

/** A blob of a stored image that is missing or wrong. */
export type Damage = {
  readonly digest: Digest;
  readonly problem: LayoutProblem;
  /** Names the file and what is wrong with it. */
  readonly message: string;
  /**
   * The path to which the wrong bytes were moved, so that nothing passes them on; null where there
   * were none.
   */
  readonly putAside: string | null;
};

/** Further checks of a layer that comes into the store. */
export type LayerChecks = {
  /** The digest that the layer must unpack to; null where it is not unpacked. */
  readonly diffId: Digest | null;
  /** Reads the layer in the same pass as its digest, and also when the store has it already. */
  readonly check: BlobCheck | undefined;
};

/**
 * The blobs of a store, and which of them this process has verified. A blob is read again only
 * where its file is another by inode, size or time.
 */
export class StoredBlobs implements Pick<BlobReader, "pathOf" | "readDocument"> {
  readonly #root: string;
  /** The stamps of the files that this process has hashed. */
  readonly #verified = new Map<Digest, string>();

  /** @param root the store's folder */
  constructor(root: string) {
    this.#root = root;
  }

  /** Returns where a blob is, or would be. */
  pathOf(digest: Digest): string {
    return layoutBlobPath(this.#root, digest);
  }

  /** Reads a JSON blob, and verifies its bytes. */
  async readDocument(blob: { digest: Digest; size?: number }): Promise<Buffer> {
    const path = this.pathOf(blob.digest);
    const stamp = stampOf(path);
    const bytes = await readBlob(path, blob);
    this.#remember(blob.digest, stamp);
    return bytes;
  }

  /**
   * Verifies a blob.
   * @throws LayoutError where it is missing or wrong
   */
  async verify(blob: Descriptor, signal?: AbortSignal): Promise<void> {
    const path = this.pathOf(blob.digest);
    const stamp = stampOf(path);
    if (stamp === (this.#verified.get(blob.digest) ?? null)) {
      this.requireSize(blob);
      return;
    }
    await checkBlob(path, blob, signal);
    this.#remember(blob.digest, stamp);
  }

  /**
   * Returns whether the store has this blob, whole, and a layer unpacks to this diff_id where one
   * is given.
   */
  async has(blob: Descriptor, diffId: Digest | null = null, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.verify(blob, signal);
      if (diffId !== null) await checkLayer(this.pathOf(blob.digest), blob, diffId, signal);
      return true;
    } catch (error) {
      if (error instanceof LayoutError) return false;
      throw error;
    }
  }

  /**
   * Checks that a blob's file is there and has the right size, without reading it.
   * @throws LayoutError
   */
  requireSize(blob: Descriptor): void {
    const path = this.pathOf(blob.digest);
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

  /** Returns whether the file of a blob is still the one that this process has hashed. */
  isVerified(digest: Digest): boolean {
    const stamp = this.#verified.get(digest);
    return stamp !== undefined && stamp === stampOf(this.pathOf(digest));
  }

  /** Lets the next {@link verify} read a blob again. */
  forget(digest: Digest): void {
    this.#verified.delete(digest);
  }

  /** Adds a document whose bytes are verified. */
  async write(blob: Descriptor, bytes: Buffer): Promise<void> {
    const temporary = temporaryPath(this.#root);
    this.#remember(
      blob.digest,
      await replaceFile(this.pathOf(blob.digest), bytes, { temporary, mode: 0o444 }),
    );
  }

  /**
   * Adds a layer from another file, and verifies it. A linked layer is hashed through the name of
   * its source, so that errors name that file.
   * @throws LayoutError, and what the check throws
   */
  async add(source: string, blob: Descriptor, checks: LayerChecks, signal?: AbortSignal): Promise<void> {
    const { diffId, check } = checks;
    if (await this.has(blob, diffId, signal)) {
      if (check) await checkBlob(source, blob, signal, check);
      return;
    }
    const temporary = temporaryPath(this.#root);
    try {
      const isLinked = await linkOrCopyBlob(source, blob, temporary, signal);
      const stamp = stampOf(temporary);
      // The disk writes a large layer while it is hashed: for gigabytes, either takes half a
      // minute.
      const written = isLinked && blob.size > largeBlob ? syncToDisk(temporary) : undefined;
      written?.catch(() => {});
      if (diffId !== null) await checkLayer(source, blob, diffId, signal);
      if (check || (isLinked && diffId === null)) await checkBlob(source, blob, signal, check);
      await written;
      await chmod(temporary, 0o444);
      await syncToDisk(temporary);
      await rename(temporary, this.pathOf(blob.digest));
      this.#remember(blob.digest, stamp);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Waits until the names of all added blobs have reached the disk. */
  async sync(): Promise<void> {
    await syncToDisk(join(this.#root, "blobs", "sha256"));
  }

  /**
   * Moves a wrong blob out of the way. Another process may have replaced it with a right one just
   * before: that one is put back.
   * @throws the error where it is about no blob
   */
  async putAside(error: LayoutError): Promise<Damage> {
    const { digest, problem, message } = error;
    if (digest === null) throw error;
    const path = this.pathOf(digest);
    const aside = join(this.#root, "damaged", `${hexOf(digest)}-${randomUUID()}`);
    const isMoved = await rename(path, aside).then(() => true, ifMissing(false));
    if (!isMoved) return { digest, problem, message, putAside: null };
    const isIntact = await isRight(aside, digest);
    if (isIntact) {
      await link(aside, path).catch(ifExists(undefined));
      await rm(aside, { force: true });
    }
    return { digest, problem, message, putAside: isIntact ? null : aside };
  }

  /**
   * @param stamp taken before the blob was read, so that a file that has changed since is read
   * again
   */
  #remember(digest: Digest, stamp: string | null): void {
    if (stamp !== null) this.#verified.set(digest, stamp);
  }
}

async function isRight(path: string, digest: Digest): Promise<boolean> {
  const { size } = await lstat(path);
  return checkBlob(path, { mediaType: "", digest, size }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof LayoutError) return false;
      throw error;
    },
  );
}
