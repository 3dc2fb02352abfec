import { isDeepStrictEqual } from "node:util";
import type { Digest } from "../../oci/digest.ts";
import type { BuildPlan, ContextFile } from "../build-plan.ts";

/** One side of a comparison. */
export type ComparedTree = {
  /** By name, each after all that it is built from, as a tree has them. */
  readonly images: ReadonlyMap<string, BuildPlan>;
  /** The digests certain before a build ({@link predictDigests}). Empty without a ledger. */
  readonly digests: ReadonlyMap<string, Digest>;
};

/**
 * The value of an input: text, a digest for content, or the list of platforms. For a context, maps
 * the path of each changed file to its mode and digest. Null where the input is absent.
 */
export type CauseValue = string | readonly string[] | Readonly<Record<string, string>> | null;

/** The inputs of an image, as its `Package` names them. */
export type InputName =
  | "version"
  | "containerfile"
  | "target"
  | "platforms"
  | "buildArgs"
  | "sources"
  | "context"
  | "dependencies";

/** An input of an image that differs, or may turn out to differ, from before. */
export type RebuildCause = {
  readonly input: InputName;
  /** The build argument, source file or dependency, where the input is a table of them. */
  readonly entry?: string;
  readonly before: CauseValue;
  readonly after: CauseValue;
};

/** An image of both sides that is built again. */
export type Rebuild = {
  readonly name: string;
  /** `may`: only a dependency is built again, perhaps to the same bytes. */
  readonly certainty: "will" | "may";
  /** All changes; for `may`, all possible changes. Never empty. */
  readonly causes: readonly RebuildCause[];
  /** The shortest path to it from an image with own changes, each built from the one before. */
  readonly path: readonly string[];
};

/** The rebuilds that a change of the tree causes. Each image of either side is in one list. */
export type RebuildPlan = {
  /** Each after all that it is built from. */
  readonly rebuild: readonly Rebuild[];
  /** Images of the newer side alone, in the same order. */
  readonly added: readonly string[];
  /** Images of the older side alone. */
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
};

/** Stands for the digest of a dependency while it is unknown. */
export const unknownDigest = "unknown";

/**
 * Compares two trees, and returns the images whose input key differs on the newer side, for certain
 * or perhaps. An image keeps its key with equal inputs of its own and unchanged dependencies. Where
 * both sides' digests of a dependency are known, they decide, which predicts early cutoff.
 */
export function planRebuild(before: ComparedTree, after: ComparedTree): RebuildPlan {
  const rebuilds = new Map<string, Rebuild>();
  const added: string[] = [];
  const unchanged: string[] = [];
  for (const [name, plan] of after.images) {
    const old = before.images.get(name);
    if (old === undefined) added.push(name);
    else {
      const rebuild = rebuildOf(old, plan, rebuilds, [before, after]);
      if (rebuild === undefined) unchanged.push(name);
      else rebuilds.set(name, rebuild);
    }
  }
  const removed = [...before.images.keys()].filter((name) => !after.images.has(name));
  return { rebuild: [...rebuilds.values()], added, removed, unchanged };
}

function rebuildOf(
  old: BuildPlan,
  plan: BuildPlan,
  rebuilds: ReadonlyMap<string, Rebuild>,
  sides: readonly [ComparedTree, ComparedTree],
): Rebuild | undefined {
  const { name } = plan;
  const own = ownCauses(old, plan, sides);
  const moved = plan.dependencies
    .filter((dependency) => old.dependencies.includes(dependency))
    .flatMap((dependency) => rebuilds.get(dependency) ?? [])
    .map((dependency) => ({ ...dependency, effect: effectOf(dependency.name, sides) }))
    .filter(({ effect }) => effect !== "same");
  const certain = moved.filter(({ effect }) => effect === "other");
  const certainty = own.length > 0 || certain.length > 0 ? "will" : "may";
  const counting = certainty === "will" ? certain : moved;
  const causes = [...own, ...counting.map((dependency) => dependencyCause(dependency.name, sides))];
  if (causes.length === 0) return undefined;
  const path = own.length > 0 ? [name] : [...shortest(counting.map((dependency) => dependency.path)), name];
  return { name, certainty, causes, path };
}

/** Compares the digests of an image on both sides. */
function effectOf(
  name: string,
  [before, after]: readonly [ComparedTree, ComparedTree],
): "same" | "other" | "unknown" {
  const [old, current] = [before.digests.get(name), after.digests.get(name)];
  if (old === undefined || current === undefined) return "unknown";
  return old === current ? "same" : "other";
}

function dependencyCause(
  entry: string,
  [before, after]: readonly [ComparedTree, ComparedTree],
): RebuildCause {
  const digest = ({ digests }: ComparedTree) => digests.get(entry) ?? unknownDigest;
  return { input: "dependencies", entry, before: digest(before), after: digest(after) };
}

/** Returns the changed inputs of an image, except the digests of its dependencies. */
function ownCauses(
  old: BuildPlan,
  plan: BuildPlan,
  sides: readonly [ComparedTree, ComparedTree],
): RebuildCause[] {
  // Nearly all images are equal: their properties need no comparison one by one.
  if (JSON.stringify(old) === JSON.stringify(plan)) return [];
  return [
    ...differences(plainInputs(old), plainInputs(plan)),
    ...contextCause(old.context, plan.context),
    ...differences(ownDependencies(old, plan, sides[0]), ownDependencies(plan, old, sides[1])),
  ];
}

type InputValue = Pick<RebuildCause, "input" | "entry"> & { readonly value: CauseValue };

function plainInputs(plan: BuildPlan): InputValue[] {
  return [
    { input: "version", value: plan.version },
    { input: "containerfile", value: `sha256:${plan.containerfile}` },
    { input: "target", value: plan.target },
    { input: "platforms", value: plan.platforms },
    ...Object.entries(plan.buildArgs).map(
      ([entry, value]) => ({ input: "buildArgs", entry, value }) as const,
    ),
    ...plan.sources.map(
      ({ file, sha256 }) => ({ input: "sources", entry: file, value: `sha256:${sha256}` }) as const,
    ),
  ];
}

/** Returns the dependencies that this plan has and the other lacks. */
function ownDependencies(plan: BuildPlan, other: BuildPlan, { digests }: ComparedTree): InputValue[] {
  return plan.dependencies
    .filter((name) => !other.dependencies.includes(name))
    .map((entry) => ({ input: "dependencies", entry, value: digests.get(entry) ?? unknownDigest }));
}

function contextCause(old: readonly ContextFile[], current: readonly ContextFile[]): RebuildCause[] {
  const files = differences(filesByPath(old), filesByPath(current));
  if (files.length === 0) return [];
  const side = (which: "before" | "after"): Record<string, string> =>
    Object.fromEntries(
      files.flatMap(({ entry = "", [which]: found }) => (typeof found === "string" ? [[entry, found]] : [])),
    );
  return [{ input: "context", before: side("before"), after: side("after") }];
}

function filesByPath(files: readonly ContextFile[]): InputValue[] {
  return files.map(({ path, mode, sha256 }) => ({
    input: "context",
    entry: path,
    value: `${mode} sha256:${sha256}`,
  }));
}

/** Returns the values that differ, in the order in which either side first has them. */
function differences(before: readonly InputValue[], after: readonly InputValue[]): RebuildCause[] {
  const [old, current] = [valuesByKey(before), valuesByKey(after)];
  return [...new Map([...old, ...current])].flatMap(([key, { value: _, ...input }]) => {
    const cause = { before: old.get(key)?.value ?? null, after: current.get(key)?.value ?? null };
    return isDeepStrictEqual(cause.before, cause.after) ? [] : [{ ...input, ...cause }];
  });
}

function valuesByKey(values: readonly InputValue[]): Map<string, InputValue> {
  return new Map(values.map((one) => [`${one.input} ${one.entry ?? ""}`, one]));
}

function shortest(paths: readonly (readonly string[])[]): readonly string[] {
  return paths.reduce((least, path) => (path.length < least.length ? path : least));
}
