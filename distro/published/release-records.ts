import { runGitIn } from "../../lib/git/isolated-git.ts";
import type { Digest } from "../../oci/digest.ts";
import type { BuildPlan } from "../build-plan.ts";
import type { InputKey } from "../input-key.ts";
import type { LedgerRecord } from "../ledger/ledger.ts";
import { inputKeyOfPlan, type KeyLookup } from "../plan/predict-digests.ts";
import { compareReleases, isReleaseName, parseReleaseName } from "../tree/release-name.ts";
import type { Tree } from "../tree/tree.ts";
import { type PublishedDigests, publishedDigestsOf } from "./published-digests.ts";

/** A published release: its tree and its `digests/*.txt`. */
export type PublishedRelease = {
  /** Its name, from which the ledger names its builder: `2026.03.0`. */
  readonly name: string;
  readonly tree: Pick<Tree, "images" | "digests"> & Partial<Pick<Tree, "furtherDigests">>;
  /** The time at which it was made. */
  readonly finished: Date;
};

/** The records of a release, and the images without a usable published digest. */
export type ReleaseRecords = {
  readonly records: readonly LedgerRecord[];
  readonly skipped: readonly SkippedImage[];
  /** Names in `digests/*.txt` that are not images of the tree. */
  readonly gone: readonly string[];
};

/**
 * An image without a record. Either its own digest is not published, or its input key cannot be
 * computed: the digest of a dependency is not published. A dependency for several platforms is used
 * by its index, which may not be published.
 */
export type SkippedImage = {
  readonly image: string;
  readonly why: "not published" | "dependency not published" | "index not published";
  /** The dependencies that cause it. */
  readonly dependencies: readonly string[];
};

/** StageX's first release with the digests of manifests. Earlier ones have those of the indexes. */
const firstOfManifests = parseReleaseName("2025.06.1");

/**
 * Checks that a release publishes the digests of manifests, which alone identify an image. The
 * digests do not show this, so the name decides: StageX's earlier releases do not.
 * @param name a tag; any other form of name is not a release of StageX's
 */
export function hasManifestDigests(name: string): boolean {
  return !isReleaseName(name) || compareReleases(parseReleaseName(name), firstOfManifests) >= 0;
}

/**
 * Finds the commit that published the digests of a checkout: the last one that changed `digests/`.
 * The digests do not cover later changes. Null where there is none.
 * @throws GitError
 */
export async function findPublishingCommit(root: string): Promise<string | null> {
  const found = await runGitIn(root, ["log", "-1", "--format=%H", "HEAD", "--", "digests"]);
  return found.toString().trim() || null;
}

/**
 * Imports a published release: creates a ledger record for each of its images. The input key
 * follows from the plan and the published digests of the dependencies, so nothing is built. A
 * record names the first platform's manifest. It also names the others and the index where our own
 * files beside StageX's publish them. Keys are computed as if the release had been built with
 * today's arguments.
 * @param release one that satisfies {@link hasManifestDigests}
 * @param lookup may know the index of a dependency for several platforms
 */
export async function createReleaseRecords(
  release: PublishedRelease,
  lookup: KeyLookup,
): Promise<ReleaseRecords> {
  const { images, digests } = release.tree;
  const references = new Map<string, Digest>();
  const records: LedgerRecord[] = [];
  const leftOut: SkippedImage[] = [];
  for (const [image, plan] of images) {
    const published = publishedDigestsOf(release.tree, plan);
    const digest = published.platforms[plan.platforms[0] ?? ""] ?? null;
    const missing = plan.dependencies.filter((name) => !references.has(name));
    const key = missing.length > 0 ? null : inputKeyOfPlan(plan, referencesOf(plan, references));
    const index = published.isWhole ? published.index : undefined;
    const reference = index ?? (await referenceOf(plan, digest, key, lookup));
    if (reference) references.set(image, reference);
    if (digest !== null && key !== null) records.push(recordOf(release, plan, key, digest, published));
    else if (digest === null) leftOut.push({ image, why: "not published", dependencies: [] });
    else leftOut.push({ image, why: whyMissing(missing, digests), dependencies: missing });
  }
  return { records, skipped: leftOut, gone: [...digests.keys()].filter((name) => !images.has(name)) };
}

function whyMissing(missing: readonly string[], digests: ReadonlyMap<string, string>): SkippedImage["why"] {
  return missing.every((name) => digests.has(name)) ? "index not published" : "dependency not published";
}

function referencesOf(plan: BuildPlan, references: ReadonlyMap<string, Digest>): Record<string, Digest> {
  return Object.fromEntries(
    plan.dependencies.flatMap((name) => {
      const digest = references.get(name);
      return digest ? [[name, digest]] : [];
    }),
  );
}

/** Returns the digest that dependents are built from; null where it is unknown. */
async function referenceOf(
  plan: BuildPlan,
  published: Digest | null,
  key: InputKey | null,
  lookup: KeyLookup,
): Promise<Digest | null> {
  if (plan.platforms.length === 1) return published;
  return key === null ? null : ((await lookup(key))?.index ?? null);
}

function recordOf(
  release: PublishedRelease,
  plan: BuildPlan,
  inputKey: InputKey,
  digest: Digest,
  { isWhole, platforms, index }: PublishedDigests,
): LedgerRecord {
  return {
    inputKey,
    image: plan.name,
    // For several platforms, the record has all of them with their index, or else only the first.
    digests: isWhole
      ? { index: index ?? null, platforms }
      : { index: null, platforms: { [plan.platforms[0] ?? ""]: digest } },
    builder: { id: `release-${release.name}`, facts: null },
    seconds: null,
    outcome: "built",
    finished: release.finished.toISOString(),
  };
}
