import { resolve } from "node:path";
import { Writable } from "node:stream";
import type { VaultConfig } from "../../config/vault.ts";
import type { Paths } from "../../lib/paths.ts";
import type { RegistryAddress } from "../../oci/registry/registry-address.ts";
import { RegistryClient } from "../../oci/registry/registry-client.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import { SourceRepository } from "../../oci/registry/source-repository.ts";
import { type DownloadOptions, MirrorError } from "../../sources/download/download.ts";
import type { PartialFile } from "../../sources/download/partial-file.ts";
import { FolderVault } from "../../sources/vault/folder-vault.ts";
import { ServerVault } from "../../sources/vault/server-vault.ts";
import {
  type LocalSource,
  VaultError,
  type VaultPlace,
  type VaultWriter,
} from "../../sources/vault/vault-place.ts";

/** Folders and programs that the places of a vault use. */
export type VaultOptions = {
  readonly paths: Pick<Paths, "project" | "sources">;
  /** Provides the path of the registry client when a registry is first asked. */
  readonly client: () => Promise<string>;
};

/** Opens the places that `stagex:vault` names, in its order. No server is asked yet. */
export function openVault(config: VaultConfig | undefined, run: VaultOptions): VaultPlace[] {
  return (config ?? []).map((place) => {
    if (place.kind === "folder") return new FolderVault(resolve(run.paths.project, place.folder), place);
    if (place.kind === "server") return new ServerVault(place.url, place.asked);
    return new RepositoryPlace(place.repository, place, run);
  });
}

/** Failures in a row after which a registry is not asked again in this run. */
const maxFailures = 3;

/** Problems that the next request would have too. */
const permanentProblems = ["unreachable", "refused", "not-a-registry", "unsafe"];

/** A place of the vault in an OCI repository. */
class RepositoryPlace implements VaultPlace, VaultWriter {
  readonly name: string;
  readonly asked: VaultPlace["asked"];
  readonly writer: VaultWriter | undefined;
  readonly #address: RegistryAddress;
  readonly #run: VaultOptions;
  #opened: Promise<SourceRepository> | undefined;
  #failures = 0;
  #down: string | undefined;

  constructor(
    address: RegistryAddress,
    { asked, push }: { readonly asked: VaultPlace["asked"]; readonly push: boolean },
    run: VaultOptions,
  ) {
    this.name = address;
    this.asked = asked;
    this.writer = push ? this : undefined;
    this.#address = address;
    this.#run = run;
  }

  urlOf(sha256: string): string {
    return `oci://${this.#address}@sha256:${sha256}`;
  }

  async read(sha256: string, into: PartialFile, options: DownloadOptions): Promise<string> {
    if (this.#down !== undefined) throw new MirrorError(`not asked again in this run: ${this.#down}`, false);
    const late = AbortSignal.timeout(options.longest);
    const signal = AbortSignal.any([options.signal, late]);
    try {
      const repository = await this.#repository();
      const size = (await repository.findSizes([sha256], signal)).get(sha256);
      if (size === undefined) throw new MirrorError("does not have it", false, { isAbsent: true });
      if (size !== null && size > options.sizeLimit)
        throw new MirrorError(`${size} bytes are over the limit of ${options.sizeLimit}`, false);
      const most = size ?? options.sizeLimit;
      await repository.read({ sha256, size: most }, () => writing(into, size, options), signal);
      this.#failures = 0;
      return "";
    } catch (error) {
      options.signal.throwIfAborted();
      if (late.aborted) throw new MirrorError(`not done after ${options.longest / 1000} s`, false);
      if (!(error instanceof RegistryError)) throw error;
      this.#noteFailure(error);
      throw new MirrorError(error.message, false);
    }
  }

  async missing(files: ReadonlyMap<string, LocalSource>, signal: AbortSignal): Promise<ReadonlySet<string>> {
    return await this.#written(async () =>
      (await this.#repository()).findMissing([...files.values()], signal),
    );
  }

  async write(file: LocalSource, signal: AbortSignal): Promise<void> {
    const { sources } = this.#run.paths;
    await this.#written(async () => (await this.#repository()).push(file, `${sources}/partial`, signal));
  }

  #repository(): Promise<SourceRepository> {
    this.#opened ??= this.#run
      .client()
      .then((program) => new SourceRepository(this.#address, new RegistryClient(program)));
    return this.#opened;
  }

  #noteFailure({ problem, message }: RegistryError): void {
    this.#failures += 1;
    if (permanentProblems.includes(problem) || this.#failures >= maxFailures) this.#down ??= message;
  }

  async #written<Result>(operation: () => Promise<Result>): Promise<Result> {
    try {
      return await operation();
    } catch (error) {
      throw error instanceof RegistryError ? new VaultError(error.message, { cause: error }) : error;
    }
  }
}

/** Returns a stream that overwrites a partial file. */
function writing(into: PartialFile, total: number | null, { onBytes }: DownloadOptions): Writable {
  return new Writable({
    construct: (done) => void into.restart().then(() => done(), done),
    write(chunk: Buffer, _encoding, done) {
      into.write(chunk).then(() => {
        onBytes(into.size, total);
        done();
      }, done);
    },
  });
}
