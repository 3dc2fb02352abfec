import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { InputKey } from "../../../../distro/input-key.ts";
import { inputKeyOfPlan, predictDigests } from "../../../../distro/plan/predict-digests.ts";
import { type ComparedTree, planRebuild, type RebuildPlan } from "../../../../distro/plan/rebuild-plan.ts";
import { readTreeSource, type Tree } from "../../../../distro/tree/tree.ts";
import { openWorkingTree } from "../../../../distro/tree/working-tree.ts";
import { TreeError } from "../../../../distro/tree-error.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";
import { MemoryTree } from "../../../support/builders/memory-tree.ts";
import { editsOf, idleChanges, realChanges } from "../../../support/builders/tree-edits.ts";

const runs = 1000;

let seed: MemoryTree;
let before: Tree;
beforeAll(async () => {
  seed = await MemoryTree.copyOf(
    await openWorkingTree(join(import.meta.dirname, "../../../../examples/seed-tree")),
  );
  before = await readTreeSource(seed);
});

/** The input key and the digest of every image of a tree after a build. */
type BuiltTree = {
  readonly keys: ReadonlyMap<string, InputKey>;
  readonly digests: ReadonlyMap<string, Digest>;
};

/**
 * Simulates `up` for a tree: each image in its turn, from the digests of its dependencies. Its
 * bytes are a function of its input key. Stable images keep their bytes whatever they are built
 * from, so their dependents are not built again.
 */
function build({ images }: Tree, stable: (name: string) => boolean): BuiltTree {
  const keys = new Map<string, InputKey>();
  const digests = new Map<string, Digest>();
  for (const [name, plan] of images) {
    const dependencies: Record<string, Digest> = {};
    for (const dependency of plan.dependencies) {
      const digest = digests.get(dependency);
      if (digest === undefined) throw new Error(`${dependency} is not built before ${name}`);
      dependencies[dependency] = digest;
    }
    const key = inputKeyOfPlan(plan, dependencies);
    keys.set(name, key);
    digests.set(name, digestOf(stable(name) ? name : key));
  }
  return { keys, digests };
}

/** Returns a tree with the digests that a ledger of these builds predicts. */
async function sideOf(tree: Tree, builds: readonly BuiltTree[]): Promise<ComparedTree> {
  const ledger = new Map(
    builds.flatMap(({ keys, digests }) => [...keys].map(([name, key]) => [key, digests.get(name)] as const)),
  );
  const lookup = async (key: InputKey) => {
    const digest = ledger.get(key);
    if (digest === undefined) return null;
    return {
      index: digest,
      platforms: { "linux/amd64": digest, "linux/arm64": digest, "linux/386": digest },
    };
  };
  return { images: tree.images, digests: await predictDigests(tree.images, lookup) };
}

function called({ rebuild }: RebuildPlan, certainty?: string): string[] {
  return rebuild
    .filter((one) => certainty === undefined || one.certainty === certainty)
    .map(({ name }) => name);
}

async function readable(edited: MemoryTree): Promise<Tree | undefined> {
  return readTreeSource(edited).catch((error) => {
    // An edit may remove a dependency of another image.
    if (error instanceof TreeError) return undefined;
    throw error;
  });
}

test("predicts the images that are built, after any edits", async () => {
  const seen = { trees: 0, built: 0, cutOff: 0, names: new Set<string>() };
  const property = fc.asyncProperty(
    editsOf(seed, { ...idleChanges, ...realChanges }),
    fc.uniqueArray(fc.constantFrom(...before.images.keys())),
    async ({ names, edited }, stableNames) => {
      const after = await readable(edited);
      fc.pre(after !== undefined);
      const stable = (name: string) => stableNames.includes(name);
      const [old, current] = [build(before, stable), build(after, stable)];
      const built = [...after.images.keys()].filter((name) => old.keys.get(name) !== current.keys.get(name));
      const again = built.filter((name) => before.images.has(name));

      const blind = planRebuild(await sideOf(before, []), await sideOf(after, []));
      expect(called(blind)).toEqual(expect.arrayContaining(again));
      expect(again).toEqual(expect.arrayContaining(called(blind, "will")));
      expect(blind.added).toEqual([...after.images.keys()].filter((name) => !before.images.has(name)));
      expect(blind.removed).toEqual([...before.images.keys()].filter((name) => !after.images.has(name)));
      const all = [...called(blind), ...blind.added, ...blind.unchanged];
      expect(all.sort()).toEqual([...after.images.keys()].sort());

      const half = planRebuild(await sideOf(before, [old]), await sideOf(after, [old]));
      expect(called(half)).toEqual(expect.arrayContaining(again));
      expect(again).toEqual(expect.arrayContaining(called(half, "will")));

      const exact = planRebuild(await sideOf(before, [old, current]), await sideOf(after, [old, current]));
      expect(called(exact, "will")).toEqual(again);
      expect(called(exact, "may")).toEqual([]);

      for (const plan of [blind, half, exact]) expectPaths(plan, before, after);
      seen.trees += 1;
      seen.built += built.length;
      seen.cutOff += called(blind).length - again.length;
      for (const name of names) seen.names.add(name.slice(0, name.indexOf(":")));
    },
  );
  await fc.assert(property, { numRuns: runs });
  // The test proves nothing unless some images were built.
  expect(seen.trees).toBe(runs);
  expect(seen.built).toBeGreaterThan(runs);
  expect(seen.cutOff).toBeGreaterThan(runs / 10);
  expect([...seen.names].sort()).toEqual([...Object.keys(idleChanges), ...Object.keys(realChanges)].sort());
}, 120_000);

/**
 * Checks that a path leads from an image with causes of its own to the image, each built from the
 * one before it.
 */
function expectPaths({ rebuild }: RebuildPlan, old: Tree, current: Tree): void {
  const byName = new Map(rebuild.map((one) => [one.name, one]));
  for (const { name, path, causes } of rebuild) {
    expect(causes.length).toBeGreaterThan(0);
    expect(path.at(-1)).toBe(name);
    const [origin = ""] = path;
    expect(byName.get(origin)?.path).toEqual([origin]);
    for (const [index, step] of path.slice(1).entries()) {
      expect(current.images.get(step)?.dependencies).toContain(path[index]);
      expect(old.images.get(step)?.dependencies).toContain(path[index]);
    }
  }
}

test("plans no rebuild for edits that builds do not read", async () => {
  const property = fc.asyncProperty(editsOf(seed, idleChanges), async ({ edited }) => {
    const plan = planRebuild(await sideOf(before, []), await sideOf(await readTreeSource(edited), []));
    expect([plan.rebuild, plan.added, plan.removed]).toEqual([[], [], []]);
    expect(plan.unchanged).toEqual([...before.images.keys()]);
  });
  await fc.assert(property, { numRuns: 300 });
}, 60_000);
