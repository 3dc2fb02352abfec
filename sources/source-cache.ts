import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Source } from "../distro/build-plan.ts";
import { errorCode } from "../lib/fs/error-code.ts";
import { pruneFolder } from "../lib/fs/prune-folder.ts";
import { RegularFileError } from "../lib/fs/regular-file.ts";
import { acquireLock } from "./cache-lock.ts";
import { findArchivedFile, hashFile, readChunks } from "./download/archived-file.ts";
import { type DownloadOptions, MirrorError, redactUrl } from "./download/download.ts";
import { MirrorHosts } from "./download/mirror-hosts.ts";
import { PartialFile } from "./download/partial-file.ts";
import { SourceError, type SourceFailure, type SourceProgress } from "./download/source-error.ts";
import { type LocationOptions, listLocations, type SourceLocation } from "./source-locations.ts";
import type { VaultPlace } from "./vault/vault-place.ts";

/** The options of a cache; the defaults suit the public internet. */
export type SourceCacheOptions = Partial<
  Pick<
    DownloadOptions,
    | "ca"
    | "resolveAddresses"
    | "idleTimeout"
    | "sizeLimit"
    | "attempts"
    | "backoff"
    | "average"
    | "probation"
    | "longest"
    | "httpsOnly"
  >
> &
  Partial<Pick<LocationOptions, "vault" | "softwareHeritage">>;

export type ObtainOptions = {
  /** Files, or folders as `fetch/<stage>/<package>`, to read first. They are never changed. */
  readonly archives?: readonly string[];
  /** True to ask neither mirrors nor Software Heritage. */
  readonly isVaultOnly?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SourceProgress) => void;
};

/** A file has at most 8 GiB. One mirror has 3 hours for it, and all of them together 6. */
export const sourceLimits = {
  idleTimeout: 60_000,
  sizeLimit: 8 * 1024 ** 3,
  attempts: 6,
  backoff: 500,
  average: 16 * 1024,
  probation: 10 * 60_000,
  longest: 3 * 3600_000,
  httpsOnly: false,
  vault: [] as readonly VaultPlace[],
  softwareHeritage: false,
};
const day = 24 * 60 * 60 * 1000;

/** A live download writes every minute, so its file is kept. */
const partialBounds = { count: 100, bytes: 32 * 1024 ** 3, maxAge: 7 * day, minAge: day / 24 };

/** Enough to inspect the latest wrong files of mirrors. */
const rejectedBounds = { count: 20, bytes: 1024 ** 3, maxAge: 30 * day };

/** A file on its way into the cache. `keep` finishes it and returns its sha256. */
export type IncomingFile = {
  write(chunk: Buffer): Promise<void>;
  size(): number;
  keep(): Promise<string>;
  discard(): Promise<void>;
};

/**
 * The content-addressed cache of sources:
 *
 *     sha256/<hex>                 whole files, read-only; hashed again at each use
 *     partial/<hex>-<random>       unfinished files; the next download continues one left by a
 *                                  broken or killed download
 *     rejected/<expected>-<got>    wrong files of a place: the last 20, up to 1 GiB, for 30 days
 *     locks/<hex>                  locks, so that two processes don't download the same file
 */
export class SourceCache {
  readonly root: string;
  readonly #options: SourceCacheOptions & typeof sourceLimits;
  readonly #hosts = new MirrorHosts();
  /** Failures of the vault and of Software Heritage that were already reported as news. */
  readonly #reported = new Set<string>();

  private constructor(root: string, options: SourceCacheOptions) {
    this.root = root;
    this.#options = { ...sourceLimits, ...options };
  }

  /** True if mirrors are asked over https alone. */
  get httpsOnly(): boolean {
    return this.#options.httpsOnly;
  }

  /** The places of the vault, in the order in which they were configured. */
  get vault(): readonly VaultPlace[] {
    return this.#options.vault;
  }

  /** Returns the path for the file with this content, whether it is there or not. */
  pathOf(sha256: string): string {
    return join(this.root, "sha256", sha256);
  }

  /** Lists the places elsewhere that are asked for a source, in their order. */
  listLocations(source: Pick<Source, "sha256" | "mirrors">): ReturnType<typeof listLocations> {
    return listLocations(source, this.#options);
  }

  /** Opens the cache in this folder, and creates it if there is none. */
  static async open(root: string, options: SourceCacheOptions = {}): Promise<SourceCache> {
    for (const folder of ["sha256", "partial", "rejected", "locks"]) {
      await mkdir(join(root, folder), { recursive: true });
    }
    await pruneFolder(join(root, "partial"), partialBounds);
    await pruneFolder(join(root, "rejected"), rejectedBounds);
    return new SourceCache(root, options);
  }

  /**
   * Returns the path of the source's file, verified by its hash. Tries the cache, then the local
   * archive, then the places of {@link listLocations} in their order.
   * @throws SourceError if every place failed, the signal's reason if aborted.
   */
  async obtain(source: Source, options: ObtainOptions = {}): Promise<string> {
    checkNames(source);
    const path = this.pathOf(source.sha256);
    if ((await hashFile(path, options.signal)) === source.sha256) return path;
    for (;;) {
      const lost = new AbortController();
      const signal = AbortSignal.any([
        lost.signal,
        ...(options.signal === undefined ? [] : [options.signal]),
      ]);
      const release = await acquireLock(join(this.root, "locks", source.sha256), signal, lost);
      try {
        if (!(await this.#isCached(source, path, signal)))
          await this.#bringIn(source, path, { ...options, signal });
        return path;
      } catch (error) {
        if (!lost.signal.aborted || options.signal?.aborted === true) throw error;
      } finally {
        await release();
      }
    }
  }

  /** Begins a file whose sha256 is known only when it is whole, such as a build's own fetches. */
  async receive(): Promise<IncomingFile> {
    const partial = await PartialFile.create(join(this.root, "partial"), "answer");
    return {
      write: (chunk) => partial.write(chunk),
      size: () => partial.size,
      discard: () => partial.discard(),
      keep: async () => {
        const sha256 = partial.digest();
        await partial.moveTo(join(this.root, "sha256", sha256));
        return sha256;
      },
    };
  }

  async #bringIn(
    source: Source,
    path: string,
    options: ObtainOptions & { signal: AbortSignal },
  ): Promise<void> {
    const failures: SourceFailure[] = [];
    const note = (failure: SourceFailure, mayBeNews = false): void => {
      failures.push(failure);
      const news = mayBeNews && this.#isNews(failure) ? { isNews: true as const } : {};
      options.onProgress?.({ kind: "failed", ...failure, ...news });
    };
    const end = performance.now() + 2 * this.#options.longest;
    for (const archive of options.archives ?? []) {
      const failure = await this.#fromArchive(source, archive, path, options);
      if (failure === "done") return;
      if (failure !== "absent") note({ from: archive, ...failure });
    }
    const { places, refused } = this.listLocations(source);
    for (const place of places.filter(({ kind }) => kind === "vault" || !options.isVaultOnly)) {
      const from = shownMirror(place.url);
      const isLastResort = place.kind === "last-resort";
      if (isLastResort) options.onProgress?.({ kind: "last-resort", phase: "asked", from });
      const failure = await this.#fromPlace(source, place, path, options, end);
      if (failure === "done") {
        if (isLastResort) options.onProgress?.({ kind: "last-resort", phase: "given", from });
        return;
      }
      // An absent source in the vault is expected, and not reported as progress.
      if (failure === "absent") failures.push({ from, reason: "does not have it", got: null });
      else note({ from, ...failure }, place.kind !== "mirror");
    }
    for (const { mirror, reason } of refused)
      note({ from: shownMirror(mirror), reason: `not asked: ${reason}`, got: null });
    throw new SourceError(source, failures);
  }

  async #fromArchive(
    source: Source,
    archive: string,
    path: string,
    options: ObtainOptions & { signal: AbortSignal },
  ): Promise<Outcome> {
    const file = await findArchivedFile(archive, source.file);
    if (file === null) return "absent";
    options.onProgress?.({ kind: "trying", from: file });
    const partial = await PartialFile.create(join(this.root, "partial"), source.sha256);
    try {
      for await (const chunk of readChunks(file, this.#options.sizeLimit, options.signal))
        await partial.write(chunk);
    } catch (error) {
      await partial.discard();
      if (error instanceof RegularFileError) return { reason: `left out: it ${error.found}`, got: null };
      throw this.#localError(source, error);
    }
    const got = partial.digest();
    if (got === source.sha256) {
      await partial.moveTo(path);
      return "done";
    }
    await partial.discard();
    return { reason: `wrong content: ${file} has sha256 ${got}; it was left as it is`, got };
  }

  async #fromPlace(
    source: Source,
    place: SourceLocation,
    path: string,
    options: ObtainOptions & { signal: AbortSignal },
    end: number,
  ): Promise<Outcome> {
    const from = shownMirror(place.url);
    const left = end - performance.now();
    if (left <= 0) return { reason: "not asked: the time for this file was over", got: null };
    options.onProgress?.({ kind: "trying", from });
    const settings: DownloadOptions = {
      ...this.#options,
      hosts: this.#hosts,
      longest: Math.ceil(Math.min(this.#options.longest, left)),
      signal: options.signal,
      onBytes: (received, total) => options.onProgress?.({ kind: "bytes", from, received, total }),
    };
    const partial = await this.#resume(source);
    let mediaType = "";
    try {
      // A process may have been killed with the file whole and only its name missing.
      if (partial.digest() !== source.sha256) mediaType = await place.read(partial, settings);
      if (partial.isPieced && partial.digest() !== source.sha256) {
        // The pieces may be of two different files, which is not this mirror's fault.
        await partial.restart();
        mediaType = await place.read(partial, settings);
      }
    } catch (error) {
      if (isDiskFull(error)) await partial.discard();
      else await partial.keepForResume();
      if (error instanceof MirrorError && error.isAbsent && place.kind !== "mirror") return "absent";
      if (error instanceof MirrorError) return { reason: error.message, got: null };
      throw this.#localError(source, error);
    }
    const got = partial.digest();
    if (got === source.sha256) {
      await partial.moveTo(path);
      return "done";
    }
    const aside = this.#rejectedPath(source, got);
    const { size } = partial;
    await partial.moveTo(aside);
    await pruneFolder(join(this.root, "rejected"), rejectedBounds);
    const page = /^text\/html\b/i.test(mediaType) ? "a web page instead of the file, " : "";
    const reason = `wrong content: ${page}its ${size} bytes have sha256 ${got}; they were put aside as ${aside}`;
    return { reason, got };
  }

  /**
   * Returns whether a failure of the vault or of Software Heritage is new in this run. A place that
   * is down fails for every source alike.
   */
  #isNews({ from, reason, got }: SourceFailure): boolean {
    if (got !== null) return true;
    if (reason.startsWith("not asked")) return false;
    const { host } = URL.parse(from) ?? { host: from };
    const text = `${host} ${reason.replace(/\d+/g, "")}`;
    if (this.#reported.has(text)) return false;
    this.#reported.add(text);
    return true;
  }

  async #resume(source: Source): Promise<PartialFile> {
    try {
      return await PartialFile.resume(join(this.root, "partial"), source.sha256);
    } catch (error) {
      throw this.#localError(source, error);
    }
  }

  /** Returns whether the file is there and right, and puts a wrong one aside. Needs the lock. */
  async #isCached(source: Source, path: string, signal: AbortSignal): Promise<boolean> {
    const got = await hashFile(path, signal);
    if (got === null) return false;
    if (got === source.sha256) return true;
    await rename(path, this.#rejectedPath(source, got));
    await pruneFolder(join(this.root, "rejected"), rejectedBounds);
    return false;
  }

  #rejectedPath({ sha256 }: Source, got: string): string {
    return join(this.root, "rejected", `${sha256}-${got}`);
  }

  #localError(source: Source, error: unknown): unknown {
    if (!isDiskFull(error)) return error;
    return new Error(
      `source ${source.name} (${source.file}): the disk is full; free some space for ${this.root} and run again`,
      { cause: error },
    );
  }
}

type Outcome = "done" | "absent" | Omit<SourceFailure, "from">;

/** Checks the names that become names of files in the cache, so that neither leads elsewhere. */
function checkNames({ name, file, sha256 }: Source): void {
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    throw new Error(
      `source ${name}: ${JSON.stringify(sha256)} is not a sha256 (expected 64 lower-case hex digits)`,
    );
  }
  if (!/^[^/\\\0]+$/.test(file) || file === "." || file === "..") {
    throw new Error(`source ${name}: ${JSON.stringify(file)} is not a plain file name`);
  }
}

function shownMirror(mirror: string): string {
  return URL.canParse(mirror) ? redactUrl(new URL(mirror)) : mirror;
}

function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes(errorCode(error) ?? "");
}
