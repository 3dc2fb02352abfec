import type { BuildPlan } from "../build-plan.ts";
import { dependentsOf, sortTopologically } from "../graph.ts";
import type { LedgerRecord } from "../ledger/ledger.ts";

/** The estimated seconds of a build on a machine of the usual size. */
export type BuildEstimate = {
  /** The duration with an empty cache. */
  readonly seconds: number;
  /** The time from its start to the end of the longest chain of builds from it, itself included. */
  readonly remaining: number;
  /**
   * The part of `seconds` that it shares with the other images of its Containerfile, and the name
   * of those steps. Subpackages are mostly cut from one compilation. Undefined where it is the only
   * image.
   */
  readonly shared: { readonly name: string; readonly seconds: number } | undefined;
  /** Bytes of memory (build-memory.ts); absent where it is little. */
  readonly memory?: number;
};

/** The shared fraction of the subpackages' time, where fewer than two durations are recorded. */
const usualShare = 0.99;

/**
 * Orders of magnitude, in seconds, for images without a record, so that a first run starts the long
 * chains first. The first fitting name counts; all other images are small.
 */
const modelled: readonly (readonly [RegExp, number])[] = [
  [/^bootstrap-stage0$/, 120],
  [/^bootstrap-/, 5400],
  [/^core-rust$/, 7200],
  [/^core-(nodejs|llvm|clang.*|lld|mlir)$/, 2700],
  [/^core-(cross-.*-)?gcc$/, 1500],
  [/^user-(qemu|lldb|edk2|linux-.*|gdb|postgresql)$/, 900],
  [/^core-(go|solidity|php.*|boost|python|icu|ruby|cmake|openssl|perl)$/, 600],
  [/^pallet-/, 20],
  [/-(py|perl)-/, 20],
];

/** Returns the default seconds of an image without a record: by its name, else by its language. */
export function defaultSeconds(plan: BuildPlan): number {
  const known = modelled.find(([pattern]) => pattern.test(plan.name));
  if (known) return known[1];
  if (plan.dependencies.some((name) => /^(core|pallet)-rust$/.test(name))) return 400;
  if (plan.dependencies.some((name) => /^(core|pallet)-c?go$/.test(name))) return 120;
  return 60;
}

/** Returns the median of the recorded durations of each image, by name, whatever the inputs. */
export function medianSeconds(
  records: readonly Pick<LedgerRecord, "image" | "seconds">[],
): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const [image, found] of Map.groupBy(records, ({ image }) => image)) {
    const time = middle(found.flatMap((record) => record.seconds ?? []));
    if (time !== undefined) seconds.set(image, time);
  }
  return seconds;
}

/** Estimates the builds of a tree: by recorded durations, else by the kind of image. */
export function estimateBuilds(
  images: ReadonlyMap<string, BuildPlan>,
  recorded: ReadonlyMap<string, number>,
  memory: ReadonlyMap<string, number> = new Map(),
): Map<string, BuildEstimate> {
  const alone = new Map<string, Omit<BuildEstimate, "remaining" | "memory">>();
  for (const [recipe, plans] of Map.groupBy(images.values(), ({ recipe }) => recipe)) {
    const [plan] = plans;
    if (plans.length === 1 && plan)
      alone.set(plan.name, { seconds: recorded.get(plan.name) ?? defaultSeconds(plan), shared: undefined });
    else for (const [name, found] of ofSubpackages(recipe, plans, recorded)) alone.set(name, found);
  }
  const remaining = remainingSeconds(images, (name) => alone.get(name)?.seconds ?? 0);
  return new Map(
    [...alone].map(([name, found]) => {
      const bytes = memory.get(name);
      const remainder = remaining.get(name) ?? found.seconds;
      return [name, { ...found, remaining: remainder, ...(bytes === undefined ? {} : { memory: bytes }) }];
    }),
  );
}

/**
 * Estimates the seconds of each image where all of them are built. Of those of one Containerfile,
 * the one with the longest chain takes its full time. The others find the shared steps in the
 * cache.
 */
export function estimateJointSeconds(
  images: Iterable<string>,
  expected: ReadonlyMap<string, BuildEstimate>,
): Map<string, number> {
  const seconds = new Map<string, number>();
  const found = [...images].flatMap((name) => {
    const expectation = expected.get(name);
    return expectation ? [{ name, ...expectation }] : [];
  });
  const paid = new Set<string>();
  for (const { name, seconds: alone, shared } of found.sort((a, b) => b.remaining - a.remaining)) {
    seconds.set(name, shared && paid.has(shared.name) ? alone - shared.seconds : alone);
    if (shared) paid.add(shared.name);
  }
  return seconds;
}

/**
 * Estimates the images of one Containerfile. The first one that a builder builds takes long; the
 * others find its shared steps in the cache.
 */
function ofSubpackages(
  recipe: string,
  plans: readonly BuildPlan[],
  recorded: ReadonlyMap<string, number>,
): Map<string, Omit<BuildEstimate, "remaining" | "memory">> {
  const known = plans.flatMap(({ name }) => recorded.get(name) ?? []).sort((a, b) => b - a);
  const [longest = Math.max(...plans.map(defaultSeconds)), ...others] = known;
  const own = middle(others) ?? longest * (1 - usualShare);
  const shared = { name: recipe, seconds: longest - own };
  return new Map(
    plans.map(({ name }) => {
      const found = recorded.get(name);
      const isFirst = found === undefined || found === longest;
      return [name, { seconds: shared.seconds + (isFirst ? own : found), shared }];
    }),
  );
}

/** Returns the seconds of the longest chain from the start of each image. Leaves out cycles. */
export function remainingSeconds(
  images: ReadonlyMap<string, { readonly dependencies: readonly string[] }>,
  seconds: (name: string) => number,
): Map<string, number> {
  const dependents = dependentsOf(images);
  const remaining = new Map<string, number>();
  for (const name of [...sortTopologically(images).keys()].reverse()) {
    const after = (dependents.get(name) ?? []).map((dependent) => remaining.get(dependent) ?? 0);
    remaining.set(name, seconds(name) + Math.max(0, ...after));
  }
  return remaining;
}

function middle(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
