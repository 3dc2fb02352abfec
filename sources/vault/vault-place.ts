import type { DownloadOptions } from "../download/download.ts";
import type { PartialFile } from "../download/partial-file.ts";

/** A source to push: its sha256, 64 hex digits, and the file name under which people know it. */
export type NamedSource = { readonly sha256: string; readonly name: string };

/** A place that holds sources by sha256. It need not be trusted: the cache hashes every byte. */
export type VaultPlace = {
  /** Its address, as the configuration has it. */
  readonly name: string;
  /** Its turn: before the mirrors of package.toml or after them. */
  readonly asked: "before" | "after";
  /** Pushes to it; undefined where nothing is pushed there. */
  readonly writer?: VaultWriter | undefined;
  /** Returns the URL of a source there, for lists of what is asked. */
  urlOf(sha256: string): string;
  /**
   * Reads a source into a partial file, within the bounds of these options.
   * @returns the media type of the content; empty where none is named
   * @throws MirrorError where it does not give the source, with `isAbsent` where it does not have
   *   it
   */
  read(sha256: string, into: PartialFile, options: DownloadOptions): Promise<string>;
};

/**
 * Writes sources to a place of the vault. Each gets its name when it is whole, so a push may be
 * killed at any time.
 */
export type VaultWriter = {
  /**
   * Finds the sources that the place does not hold whole, by sha256. It compares no content.
   * @throws VaultError where that can't be known
   */
  missing(files: ReadonlyMap<string, LocalSource>, signal: AbortSignal): Promise<ReadonlySet<string>>;
  /** @throws VaultError where it can't be written */
  write(file: LocalSource, signal: AbortSignal): Promise<void>;
};

/** A source in the cache, to be pushed. */
export type LocalSource = NamedSource & { readonly path: string; readonly size: number };

/**
 * Raised where a place of the vault takes no source. The message names the place and the reason.
 */
export class VaultError extends Error {
  override readonly name = "VaultError";
}
