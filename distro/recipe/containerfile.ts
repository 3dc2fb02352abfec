import type { TreeProblem } from "../tree-error.ts";

/** One `FROM`. */
export type BuildStage = {
  /** In lower case, as BuildKit compares it; null where it has none. */
  readonly name: string | null;
  /** What it starts from: an earlier stage, `scratch`, or an image. */
  readonly base: string;
  /** Whose programs its `RUN` instructions run: {@link RunPlatform}s, more than one only where the base depends on the target. */
  readonly platforms: readonly RunPlatform[];
  /** The images of the tree that it or the stages below it begin with. */
  readonly images: readonly string[];
  readonly line: number;
};

/**
 * A platform that a stage is for: `linux/386` where its `FROM` says so, `target` where it is what the image is built for, and `builder` for
 * whatever the builder itself is (`$BUILDPLATFORM`).
 */
export type RunPlatform = string;

/** An image of the tree that the Containerfile is built from, and where it says so first. */
export type ImageDependency = { readonly name: string; readonly line: number };

/** A place of the package's folder that an instruction reads. */
export type ContextRead = {
  /** As written: with wildcards (`patches/*.patch`) and variables. */
  readonly path: string;
  /** `ADD` and `COPY` have wildcards; the source of a mount has none. */
  readonly wildcards: boolean;
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  /** The whole instruction, for errors: `COPY`. */
  readonly keyword: string;
  readonly line: number;
};

/** What an instruction takes from outside of the tree. A build of its stage fails; other images of the tree do not. */
export type Refusal = {
  /** Index of the stage that the instruction is in. */
  readonly stage: number;
  readonly problem: TreeProblem;
};

/** What a stage starts from: an earlier stage by its index, or an image of the tree; null for `scratch`, and what only the build knows. */
export type StageBase = number | string | null;

/** A RUN that fetches what no source has. */
export type FetchingRun = {
  /** Index of the stage that it is in. */
  readonly stage: number;
  readonly line: number;
  /** What it runs: `go mod download`. */
  readonly commands: readonly string[];
};

/** A Containerfile, as far as the rest of the project needs it. */
export type Containerfile = {
  readonly stages: readonly BuildStage[];
  /** Of each stage. */
  readonly bases: readonly StageBase[];
  /** For each stage the indexes of those that it starts from, copies from or mounts, or that it may. */
  readonly uses: readonly ReadonlySet<number>[];
  /** Indexes of the stages that have a `RUN`. */
  readonly running: ReadonlySet<number>;
  /** In the order of their first mention, each once. */
  readonly dependencies: readonly ImageDependency[];
  readonly reads: readonly ContextRead[];
  /** Names that some `ARG` declares: no other build argument can change the build, but those that BuildKit itself knows. */
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

/** Returns why a build of this target fails whatever it is given. */
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
 * Returns the stages that BuildKit runs: those that the target is made of, directly or not, and no other (frontend/dockerfile/dockerfile2llb,
 * allReachableStages).
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
