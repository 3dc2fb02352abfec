import type { Source } from "../build-plan.ts";

/** A `[sources.NAME]` section as it is written, placeholders not yet expanded (package.toml(5)). */
export type SourceSection = {
  readonly name: string;
  /** sha256 of the file, 64 hex digits. */
  readonly hash: string;
  /** The source's own version; null where it has the package's. */
  readonly version: string | null;
  readonly gitSha: string | null;
  /** Empty where none is given. */
  readonly format: string;
  /** Template of the file's name; null where it is the last part of the mirrors' paths. */
  readonly file: string | null;
  /** Templates of URLs, in the order to try them; never empty. */
  readonly mirrors: readonly string[];
};

/** A parsed package.toml: the fields of package.toml(5), and `platforms`, missing there. */
export type PackageToml = {
  readonly name: string;
  /** Null where there is a `versionFrom`, or no version at all (a file system, a profile). */
  readonly version: string | null;
  /** The image whose version this package has. */
  readonly versionFrom: string | null;
  /** Empty where there is none. */
  readonly description: string;
  readonly license: string | null;
  readonly website: string | null;
  /** Each is an image of its own, and then the package itself is none. */
  readonly subpackages: readonly string[];
  /** Empty where the package is built for whatever platform is asked for. */
  readonly platforms: readonly string[];
  readonly sources: readonly SourceSection[];
  /** The files that StageX's `src/fetch.py` would fetch for the sections, in the file's order. */
  readonly resolvedSources: readonly Source[];
};

/** The fields as they stand in the file, before the templates are expanded. */
export type WrittenPackage = Omit<PackageToml, "resolvedSources">;
