import { execFileSync } from "node:child_process";
import type { BuildPlan } from "../../distro/build-plan.ts";
import type { InputKey } from "../../distro/input-key.ts";
import { inputKeyOfPlan, predictDigests } from "../../distro/plan/predict-digests.ts";
import { type ComparedTree, planRebuild, type RebuildPlan } from "../../distro/plan/rebuild-plan.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { compareReleases, isReleaseName, parseReleaseName } from "../../distro/tree/release-name.ts";
import { readTreeSource, type Tree } from "../../distro/tree/tree.ts";
import { type Digest, digestOf, parseDigest } from "../../oci/digest.ts";
import { manifestDigests } from "./published-index.ts";

/** A release: its name, and its tree with the digests that it publishes. */
export type Release = { readonly name: string; readonly tree: Tree };

/**
 * The predictions of plan for the step from one release to the next, compared with the published
 * digests.
 */
export type Prediction = {
  /** Images of the newer release, and the number of them that the older has too. */
  readonly images: number;
  readonly inBoth: number;
  /** Images with other inputs of their own: *will*, without a ledger. */
  readonly own: number;
  /** *Will* or *may*, without a ledger. */
  readonly called: number;
  /** Images whose published digest changed. */
  readonly changed: number;
  /** Changed, but neither *will* nor *may*. */
  readonly missed: readonly string[];
  /** With both releases in the ledger: predicted rebuilds, and those still not certain. */
  readonly exact: number;
  readonly uncertain: number;
  /**
   * Wrong predictions with the ledger, missed or needless. Right are images with other inputs, or
   * other digests of dependencies.
   */
  readonly wrong: readonly string[];
  /** Input keys for which two digests are published. */
  readonly contradictions: number;
  /**
   * Digests of indexes in the older release, which are replaced by those of the manifests in them.
   */
  readonly translated: number;
};

/**
 * Returns the names of the releases of the 12 months up to the newest, or of all since one, oldest
 * first.
 */
export function releaseNames(checkout: string, since?: string): string[] {
  const tags = execFileSync("git", ["-C", checkout, "tag", "--list"], { encoding: "utf8" }).split("\n");
  const releases = tags
    .filter(isReleaseName)
    .map((tag) => ({ tag, release: parseReleaseName(tag) }))
    .sort((left, right) => compareReleases(left.release, right.release));
  const newest = releases.at(-1)?.release;
  if (newest === undefined) throw new Error(`${checkout} has no tags of releases`);
  const first =
    since === undefined ? { ...newest, year: newest.year - 1, number: 0 } : parseReleaseName(since);
  return releases.filter(({ release }) => compareReleases(release, first) >= 0).map(({ tag }) => tag);
}

/** Reads a release from git's objects. */
export async function readRelease(checkout: string, name: string): Promise<Release> {
  return {
    name,
    tree: await readTreeSource(await openGitTree(checkout, await resolveCommit(checkout, name))),
  };
}

/** Compares the predictions of plan with the digests that the two releases published. */
export async function predict(older: Release, newer: Release): Promise<Prediction> {
  const { tree: after } = newer;
  const published = ledgerOf([older.tree, after]);
  const contradicted = [...published.values()].some(({ size }) => size > 1);
  // Equal inputs have two digests: the two releases may have published digests of different things.
  const digests = contradicted ? manifestDigests(older.tree, after) : older.tree.digests;
  const before = { ...older.tree, digests };
  const ledger = contradicted ? ledgerOf([before, after]) : published;
  const nothing = new Map();
  const blind = planRebuild(
    { images: before.images, digests: nothing },
    { images: after.images, digests: nothing },
  );
  const exact = planRebuild(await sideOf(before, ledger), await sideOf(after, ledger));
  const [called, exactly] = [namesOf(blind), namesOf(exact)];
  const differs = (name: string) => before.digests.get(name) !== after.digests.get(name);
  const inBoth = [...after.images.keys()].filter((name) => before.images.has(name));
  const changed = inBoth.filter(differs);
  const expected = inBoth.filter((name) => {
    const [old, current] = [before.images.get(name), after.images.get(name)];
    return old && current && (ownKey(old) !== ownKey(current) || current.dependencies.some(differs));
  });
  return {
    images: after.images.size,
    inBoth: inBoth.length,
    own: blind.rebuild.filter(({ certainty }) => certainty === "will").length,
    called: called.size,
    changed: changed.length,
    missed: changed.filter((name) => !called.has(name)),
    exact: exact.rebuild.length,
    uncertain: exact.rebuild.filter(({ certainty }) => certainty === "may").length,
    wrong: inBoth.filter((name) => exactly.has(name) !== expected.includes(name)),
    contradictions: [...ledger.values()].filter(({ size }) => size > 1).length,
    translated: [...digests].filter(([name, digest]) => older.tree.digests.get(name) !== digest).length,
  };
}

type MemoryLedger = ReadonlyMap<InputKey, ReadonlySet<Digest>>;

/** Makes a ledger of the published digests: for each input key that they suffice to compute. */
function ledgerOf(trees: readonly Tree[]): MemoryLedger {
  const ledger = new Map<InputKey, Set<Digest>>();
  for (const { images, digests } of trees) {
    for (const [name, plan] of images) {
      const digest = digests.get(name);
      const dependencies = plan.dependencies.map(
        (dependency) => [dependency, digests.get(dependency)] as const,
      );
      if (digest === undefined || dependencies.some(([, found]) => found === undefined)) continue;
      const key = inputKeyOfPlan(
        plan,
        Object.fromEntries(
          dependencies.map(([dependency, hex]) => [dependency, parseDigest(`sha256:${hex}`)]),
        ),
      );
      ledger.set(key, (ledger.get(key) ?? new Set()).add(parseDigest(`sha256:${digest}`)));
    }
  }
  return ledger;
}

async function sideOf({ images }: Tree, ledger: MemoryLedger): Promise<ComparedTree> {
  const platformsOf = (digest: Digest) =>
    Object.fromEntries(
      [...images.values()].flatMap(({ platforms }) => platforms.map((one) => [one, digest])),
    );
  const lookup = async (key: InputKey) => {
    const [digest, ...others] = ledger.get(key) ?? [];
    return digest === undefined || others.length > 0 ? null : { index: null, platforms: platformsOf(digest) };
  };
  return { images, digests: await predictDigests(images, lookup) };
}

/**
 * Returns a key of the image's own inputs and the names of its dependencies, without their digests.
 */
function ownKey(plan: BuildPlan): InputKey {
  return inputKeyOfPlan(plan, Object.fromEntries(plan.dependencies.map((name) => [name, digestOf("")])));
}

function namesOf({ rebuild }: RebuildPlan): Set<string> {
  return new Set(rebuild.map(({ name }) => name));
}
