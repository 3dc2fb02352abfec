import type { TreeProblem } from "../tree-error.ts";

/** A build stage: one `FROM` and its instructions. */
export type BuildStage = {
  /** In lower case, as BuildKit compares it; null where it has none. */
  readonly name: string | null;
  /** The stage's base: an earlier stage, `scratch`, or an image. */
  readonly base: string;
  /**
   * The {@link RunPlatform}s of the programs that its `RUN` instructions run. Has more than one
   * only where the base depends on the target.
   */
  readonly platforms: readonly RunPlatform[];
  /** The tree's images that the stage, or a stage below it, starts from. */
  readonly images: readonly string[];
  readonly line: number;
};

/**
 * A platform that a stage is for. It is `target` for the image's own platforms, `builder` for the
 * builder's own (`$BUILDPLATFORM`), or a platform that the `FROM` names, such as `linux/386`.
 */
export type RunPlatform = string;

/** An image of the tree that the Containerfile is built from, and the line that names it first. */
export type ImageDependency = { readonly name: string; readonly line: number };

/** A path in the package's folder that an instruction reads. */
export type ContextRead = {
  /** As written: with wildcards (`patches/*.patch`) and variables. */
  readonly path: string;
  /** True for `ADD` and `COPY`. The source of a mount has no wildcards. */
  readonly wildcards: boolean;
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  /** The instruction's name, for errors: `COPY`. */
  readonly keyword: string;
  readonly line: number;
};

/** An instruction that takes something from outside the tree: only builds of its stage fail. */
export type Refusal = {
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  readonly problem: TreeProblem;
};

/**
 * The base of a stage: an earlier stage by its index, or an image of the tree. It is null for
 * `scratch`, and where only the build knows the base.
 */
export type StageBase = number | string | null;

/** A RUN that fetches files that are not among the sources. */
export type FetchingRun = {
  /** Index of the stage that it is in. */
  readonly stage: number;
  readonly line: number;
  /** The fetching commands that it runs: `go mod download`. */
  readonly commands: readonly string[];
};

/** A Containerfile, as far as the project needs it. */
export type Containerfile = {
  readonly stages: readonly BuildStage[];
  /** The base of each stage. */
  readonly bases: readonly StageBase[];
  /** For each stage, the stages that it starts from, copies from or mounts, or may. */
  readonly uses: readonly ReadonlySet<number>[];
  /** Indexes of the stages that have a `RUN`. */
  readonly running: ReadonlySet<number>;
  /** In the order of their first mention, each once. */
  readonly dependencies: readonly ImageDependency[];
  readonly reads: readonly ContextRead[];
  /** The names that some `ARG` declares. Only these, and BuildKit's own, can change the build. */
  readonly args: ReadonlySet<string>;
  readonly refusals: readonly Refusal[];
  readonly fetchingRuns: readonly FetchingRun[];
};

/**
 * Returns the context reads of a build of this target.
 * @param target a stage's name; null for the last one
 */
export function contextReadsOf(containerfile: Containerfile, target: string | null): ContextRead[] {
  const run = reachableStages(containerfile, target);
  return containerfile.reads.filter(({ stage }) => run.has(stage));
}

/** Returns the reasons why a build of this target always fails. */
export function refusalsOf(containerfile: Containerfile, target: string | null): TreeProblem[] {
  if (containerfile.refusals.length === 0) return [];
  const run = reachableStages(containerfile, target);
  return containerfile.refusals.flatMap(({ stage, problem }) => (run.has(stage) ? [problem] : []));
}

/** Returns the fetching RUNs of a build of this target. */
export function fetchingRunsOf(containerfile: Containerfile, target: string | null): FetchingRun[] {
  if (containerfile.fetchingRuns.length === 0) return [];
  const run = reachableStages(containerfile, target);
  return containerfile.fetchingRuns.filter(({ stage }) => run.has(stage));
}

/**
 * Returns the stages that BuildKit runs for a target: those that it is made of, directly or
 * indirectly (frontend/dockerfile/dockerfile2llb, allReachableStages).
 */
export function reachableStages({ stages, uses }: Containerfile, target: string | null): Set<number> {
  const name = target?.toLowerCase();
  const targets = stages.flatMap((stage, index) => (stage.name === name ? [index] : []));
  const run = new Set<number>();
  const open = target === null ? [stages.length - 1] : targets;
  for (let stage = open.pop(); stage !== undefined; stage = open.pop()) {
    if (run.has(stage)) continue;
    run.add(stage);
    open.push(...(uses[stage] ?? []));
  }
  return run;
}
