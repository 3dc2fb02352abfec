import { isDeepStrictEqual } from "node:util";
import type { Digest } from "../../oci/digest.ts";
import type { BuildPlan, ContextFile } from "../build-plan.ts";

/** One side of a comparison. */
export type ComparedTree = {
  /** By name, each after all that it is built from, as a tree has them. */
  readonly images: ReadonlyMap<string, BuildPlan>;
  /** The digests that are certain before anything is built, by image: {@link knownDigests}. None where there is no ledger. */
  readonly digests: ReadonlyMap<string, Digest>;
};

/**
 * A property's value: text (a digest where it is content), the list of platforms, or of the context's changed files path
 * to mode and digest. Null: it is not there.
 */
export type CauseValue = string | readonly string[] | Readonly<Record<string, string>> | null;

/** One input of an image that is, or may turn out to be, another than before. */
export type RebuildCause = {
  /** As the provider's diff names it: `containerfile`, `buildArgs.VERSION`, `sources["a.tar.gz"]`. */
  readonly property: string;
  readonly before: CauseValue;
  readonly after: CauseValue;
};

/** An image that is on both sides, and is to be built again. */
export type Rebuild = {
  readonly name: string;
  /** `may`: nothing of it changed but something that it is built from is built again, perhaps to the same bytes. */
  readonly certainty: "will" | "may";
  /** All that changed; for `may`, all that may. Never empty. */
  readonly causes: readonly RebuildCause[];
  /** The shortest way from an image whose own inputs changed to this one: names, each built from the one before it. */
  readonly path: readonly string[];
};

/** What a change of the tree rebuilds. Every image of either side is in exactly one of the lists. */
export type RebuildPlan = {
  /** Each after all that it is built from. */
  readonly rebuild: readonly Rebuild[];
  /** Images of the newer side alone, in the same order. */
  readonly added: readonly string[];
  /** Images of the older side alone. */
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
};

/** What stands for the digest of an image that is built from, as long as nobody knows it. */
export const unknownDigest = "unknown";

/**
 * Compares two trees: which images have another input key on the newer side, for certain or perhaps. With equal inputs
 * of its own and dependencies that are not built again, an image has the same key. Where both sides' digests of a
 * dependency are known, it is them that count, so early cutoff is foreseen.
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

/** Whether an image that is built again has other bytes than before. */
function effectOf(
  name: string,
  [before, after]: readonly [ComparedTree, ComparedTree],
): "same" | "other" | "unknown" {
  const [old, current] = [before.digests.get(name), after.digests.get(name)];
  if (old === undefined || current === undefined) return "unknown";
  return old === current ? "same" : "other";
}

function dependencyCause(name: string, [before, after]: readonly [ComparedTree, ComparedTree]): RebuildCause {
  const digest = ({ digests }: ComparedTree) => digests.get(name) ?? unknownDigest;
  return { property: member("dependencies", name), before: digest(before), after: digest(after) };
}

/** The inputs of an image that changed, apart from what those that it is built from have become. */
function ownCauses(
  old: BuildPlan,
  plan: BuildPlan,
  sides: readonly [ComparedTree, ComparedTree],
): RebuildCause[] {
  // Of nearly all images: their properties need not be compared one by one.
  if (JSON.stringify(old) === JSON.stringify(plan)) return [];
  return [
    ...differences(plainInputs(old), plainInputs(plan)),
    ...contextCause(old.context, plan.context),
    ...differences(joined(old, plan, sides[0]), joined(plan, old, sides[1])),
  ];
}

function plainInputs(plan: BuildPlan): Map<string, CauseValue> {
  return new Map<string, CauseValue>([
    ["version", plan.version],
    ["containerfile", `sha256:${plan.containerfile}`],
    ["target", plan.target],
    ["platforms", plan.platforms],
    ...Object.entries(plan.buildArgs).map(([name, value]) => [member("buildArgs", name), value] as const),
    ...plan.sources.map(({ file, sha256 }) => [member("sources", file), `sha256:${sha256}`] as const),
  ]);
}

/** The dependencies that this plan has and the other has not. */
function joined(plan: BuildPlan, other: BuildPlan, { digests }: ComparedTree): Map<string, CauseValue> {
  const names = plan.dependencies.filter((name) => !other.dependencies.includes(name));
  return new Map(names.map((name) => [member("dependencies", name), digests.get(name) ?? unknownDigest]));
}

function contextCause(old: readonly ContextFile[], current: readonly ContextFile[]): RebuildCause[] {
  const files = differences(byPath(old), byPath(current));
  const side = (value: (file: RebuildCause) => CauseValue): Record<string, string> =>
    Object.fromEntries(
      files.flatMap((file): [string, string][] => {
        const found = value(file);
        return typeof found === "string" ? [[file.property, found]] : [];
      }),
    );
  if (files.length === 0) return [];
  return [{ property: "context", before: side(({ before }) => before), after: side(({ after }) => after) }];
}

function byPath(files: readonly ContextFile[]): Map<string, string> {
  return new Map(files.map(({ path, mode, sha256 }) => [path, `${mode} sha256:${sha256}`]));
}

function differences(
  before: ReadonlyMap<string, CauseValue>,
  after: ReadonlyMap<string, CauseValue>,
): RebuildCause[] {
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names
    .map((property) => ({
      property,
      before: before.get(property) ?? null,
      after: after.get(property) ?? null,
    }))
    .filter(({ before, after }) => !isDeepStrictEqual(before, after));
}

function shortest(paths: readonly (readonly string[])[]): readonly string[] {
  return paths.reduce((least, path) => (path.length < least.length ? path : least));
}

/** In the engine's own notation of a property's path, as the provider's diff has it. */
function member(table: string, name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `${table}.${name}` : `${table}["${name.replaceAll('"', '\\"')}"]`;
}
