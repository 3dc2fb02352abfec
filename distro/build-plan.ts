import type { TreeProblem } from "./tree-error.ts";

/** A file of an image's context: a tracked file of the package's folder that its build can read. */
export type ContextFile = {
  /** Path relative to the package's folder, with `/`. */
  readonly path: string;
  /** git's mode: 100644, 100755 (executable) or 120000 (symbolic link, its target as content). */
  readonly mode: "100644" | "100755" | "120000";
  /** sha256 of the content in the working tree, 64 hex digits. */
  readonly sha256: string;
};

/** One source of a package, its placeholders expanded (package.toml(5), "[sources.*] Section"). */
export type Source = {
  /** The section's name: `gcc` of `[sources.gcc]`. */
  readonly name: string;
  /** The file's name below `fetch/`. */
  readonly file: string;
  /** sha256 of the file, 64 hex digits. */
  readonly sha256: string;
  /** URLs in the order to try them. */
  readonly mirrors: readonly string[];
};

/** The options of every build of one generation of StageX's generator, besides the image's own. */
export type CommonBuildOptions = {
  /** Options of BuildKit's frontend. */
  readonly options: Readonly<Record<string, string>>;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Attributes of the exporter. */
  readonly output: Readonly<Record<string, string>>;
  /** Annotations of the image's manifest. */
  readonly annotations: (image: string, version: string) => Readonly<Record<string, string>>;
};

/**
 * All data for building one image, as StageX's own generator (`src/targets.py`) would pass it. A
 * package.toml gives one plan, or one for each subpackage. Paths are relative to the tree.
 */
export type BuildPlan = {
  /** The generation of StageX's generator (distro/generator/); absent for `src/targets.py`. */
  readonly generator?: string;
  /** The image's name, `<stage>-<package or subpackage>`: `core-busybox`. */
  readonly name: string;
  /** The namespace: bootstrap, core, pallet or user. */
  readonly stage: string;
  /** The package's folder name, a subpackage's origin: `linux` for `user-linux-nitro`. */
  readonly origin: string;
  /** `packages/<stage>/<origin>`. */
  readonly folder: string;
  /** The Containerfile: `packages/core/busybox/Containerfile`. */
  readonly recipe: string;
  /** sha256 of the Containerfile's bytes, 64 hex digits. */
  readonly containerfile: string;
  /** `package-<subpackage>`, or null for the Containerfile's last stage. */
  readonly target: string | null;
  /** The package's version, `latest` where it has none. */
  readonly version: string;
  /** Such as `linux/amd64`; never empty. */
  readonly platforms: readonly string[];
  /**
   * The platforms whose programs its build runs. `target` stands for those of `platforms`,
   * `builder` for the builder's own. Others are named by a stage's `FROM`, such as `linux/386`.
   * Empty for an image that is made of files alone.
   */
  readonly runs: readonly string[];
  /** This image's own build arguments, without those that every build gets. */
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Names of the images it is built from, sorted, each once. */
  readonly dependencies: readonly string[];
  readonly sources: readonly Source[];
  /** Sorted by path. */
  readonly context: readonly ContextFile[];
  /** Reasons why its builds always fail: the recipe needs something outside the tree. */
  readonly refusals: readonly TreeProblem[];
  /** The fetching commands of its recipe's RUNs, each once: `cargo fetch`. Mostly empty. */
  readonly fetchers: readonly string[];
};
