import type { Stats } from "node:fs";
import { lstat, mkdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { errorCode, ifMissing } from "../../lib/fs/error-code.ts";
import { pruneSharedFolder } from "../../lib/fs/prune-folder.ts";
import { RegularFileError } from "../../lib/fs/regular-file.ts";
import { readChunks } from "../download/archived-file.ts";
import { type DownloadOptions, MirrorError } from "../download/download.ts";
import { isPartialName, PartialFile } from "../download/partial-file.ts";
import { type LocalSource, VaultError, type VaultPlace, type VaultWriter } from "./vault-place.ts";

/**
 * Returns the path of a source below a vault's folder, or below the URL of a server with the same
 * files.
 */
export function vaultPath(sha256: string): string {
  return `sha256/${sha256.slice(0, 2)}/${sha256}`;
}

/** Bounds of the files that killed pushes leave; a live push writes every minute. */
const partialBounds = { count: 20, bytes: 32 * 1024 ** 3, maxAge: 24 * 3600_000, minAge: 3600_000 };

/**
 * The number of entries of `partial/` that are read. Anyone with write access may leave millions.
 */
const maxPartials = 10_000;

/** A place of the vault in a folder: `sha256/ab/abcdef…`, and `partial/` for unfinished pushes. */
export class FolderVault implements VaultPlace, VaultWriter {
  readonly name: string;
  readonly asked: VaultPlace["asked"];
  readonly writer: VaultWriter | undefined;
  readonly #root: string;

  constructor(
    folder: string,
    { asked, push }: { readonly asked: VaultPlace["asked"]; readonly push: boolean },
  ) {
    this.name = folder;
    this.asked = asked;
    this.writer = push ? this : undefined;
    this.#root = resolve(folder);
  }

  urlOf(sha256: string): string {
    return pathToFileURL(join(this.#root, vaultPath(sha256))).href;
  }

  async read(sha256: string, into: PartialFile, options: DownloadOptions): Promise<string> {
    const { sizeLimit, signal, longest, onBytes } = options;
    const expired = AbortSignal.timeout(longest);
    const path = join(this.#root, vaultPath(sha256));
    try {
      await this.#requireFolder();
      const facts = await this.#factsOf(sha256);
      if (facts === null) throw new MirrorError("it does not have it", false, { isAbsent: true });
      await into.restart();
      for await (const chunk of readChunks(path, sizeLimit, AbortSignal.any([signal, expired]))) {
        await into.write(chunk);
        onBytes(into.size, facts.size);
      }
      return "";
    } catch (error) {
      signal.throwIfAborted();
      if (expired.aborted) throw new MirrorError(`not done after ${longest / 1000} s`, false);
      if (error instanceof RegularFileError) throw new MirrorError(`left out: it ${error.found}`, false);
      // Other errors come from writing to the cache, and are not this place's fault.
      if (["EACCES", "EPERM", "EIO", "ESTALE", "ENOENT", "ENOTDIR"].includes(errorCode(error) ?? ""))
        throw new MirrorError((error as Error).message, false);
      throw error;
    }
  }

  async missing(files: ReadonlyMap<string, LocalSource>): Promise<ReadonlySet<string>> {
    return await this.#runPush(async () => {
      await this.#requireFolder();
      await this.#requireReal("partial");
      await pruneSharedFolder(join(this.#root, "partial"), partialBounds, {
        isLeftover: isPartialName,
        most: maxPartials,
      });
      const missing = new Set<string>();
      for (const [sha256, { size }] of files) {
        const facts = await this.#factsOf(sha256);
        if (facts === null || !facts.isFile() || facts.size !== size) missing.add(sha256);
      }
      return missing;
    });
  }

  async write({ sha256, path, size }: LocalSource, signal: AbortSignal): Promise<void> {
    await this.#runPush(async () => {
      const target = join(this.#root, vaultPath(sha256));
      await this.#factsOf(sha256);
      await this.#requireReal("partial");
      await mkdir(join(this.#root, "partial"), { recursive: true });
      await mkdir(join(target, ".."), { recursive: true });
      const partial = await PartialFile.create(join(this.#root, "partial"), sha256);
      try {
        for await (const chunk of readChunks(path, size, signal)) await partial.write(chunk);
        const got = partial.digest();
        if (got !== sha256)
          throw new VaultError(`not pushed to ${this.name}: ${path} has sha256 ${got} by now`);
      } catch (error) {
        await partial.discard();
        throw error;
      }
      await partial.moveTo(target);
    }, signal);
  }

  async #requireFolder(): Promise<void> {
    const facts = await stat(this.#root).catch(ifMissing(null));
    if (!facts?.isDirectory()) throw new MirrorError("there is no such folder", false);
  }

  /**
   * Returns the facts of a source's file; null where there is none. A link in a folder's place is
   * an error: others may write there.
   */
  async #factsOf(sha256: string): Promise<Stats | null> {
    const names = vaultPath(sha256).split("/");
    for (let depth = 1; depth < names.length; depth += 1)
      if (!(await this.#requireReal(names.slice(0, depth).join("/")))) return null;
    return await lstat(join(this.#root, ...names)).catch(ifMissing(null));
  }

  /**
   * Checks that a folder's name leads to no link or file.
   * @returns false if it does not exist
   * @throws MirrorError for anything but a folder
   */
  async #requireReal(name: string): Promise<boolean> {
    const facts = await lstat(join(this.#root, name)).catch(ifMissing(null));
    if (facts === null || facts.isDirectory()) return facts !== null;
    throw new MirrorError(`left out: ${name} in it is not a folder`, false);
  }

  /** Runs a part of a push. Turns an error of the file system into one of this place. */
  async #runPush<Result>(work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof MirrorError) && errorCode(error) === "") throw error;
      throw new VaultError(`${this.name}: ${(error as Error).message}`, { cause: error });
    }
  }
}
