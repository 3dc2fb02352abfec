import { realpathSync } from "node:fs";
import { relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { dependencyClosure, sortTopologically } from "../../distro/graph.ts";
import type { InputKey } from "../../distro/input-key.ts";
import type { LedgerAnswer, LedgerRecord } from "../../distro/ledger/ledger.ts";
import { inputKeyOfPlan, lookUpOwnFirst, predictDigests } from "../../distro/plan/predict-digests.ts";
import type { PackageToml } from "../../distro/recipe/package-toml.ts";
import type { Tree } from "../../distro/tree/tree.ts";
import { GitError } from "../../lib/git/git.ts";
import { diskKeeps, findRepository } from "../../lib/git/git-repository.ts";
import { isUnmodified, parseGitEntries } from "../../lib/git/git-tree-entry.ts";
import { runInRepository } from "../../lib/git/isolated-git.ts";
import { printable } from "../../lib/text/printable.ts";
import type { Digest } from "../../oci/digest.ts";
import type { FetchAnswer } from "../../sources/recording/fetch-record.ts";
import { FetchRecordError } from "../../sources/recording/fetch-record-error.ts";
import { FetchRecordStore } from "../../sources/recording/fetch-record-store.ts";
import type { EvidenceLedgers } from "../context/open-ledgers.ts";

/**
 * The evidence of how an image was built: the inputs from the tree, and the outputs from the
 * ledger.
 */
export type BuildEvidence = {
  readonly plan: BuildPlan;
  readonly toml: PackageToml;
  readonly inputKey: InputKey;
  /**
   * Dependencies: image name to the digest that was used, of the manifest or, for several
   * platforms, of the index.
   */
  readonly dependencies: Readonly<Record<string, Digest>>;
  /** Versions of the dependencies, by image name. */
  readonly versions: Readonly<Record<string, string>>;
  readonly digests: NonNullable<LedgerAnswer["digests"]>;
  /** Records of builds. Imported releases, whose builders are unknown, are not among them. */
  readonly records: readonly BuiltRecord[];
  /** The fetches of the builds, by the fetch records that {@link records} name. */
  readonly fetches: ReadonlyMap<string, readonly FetchAnswer[]>;
};

/** A build record with facts about the builder. */
export type BuiltRecord = LedgerRecord & {
  readonly builder: { readonly facts: NonNullable<LedgerRecord["builder"]["facts"]> };
};

/** Nothing is known of how an image was built. The message names what is missing. */
export class NoEvidenceError extends Error {
  override readonly name = "NoEvidenceError";
}

/**
 * Gathers the evidence for an image as the tree has it now.
 * @throws NoEvidenceError if the tree has no such image, or the ledger does not know it or one of
 * its dependencies
 */
export async function gatherBuildEvidence(
  tree: Tree,
  { ledger, built }: EvidenceLedgers,
  image: string,
): Promise<BuildEvidence> {
  const plan = tree.images.get(image);
  const toml = tree.packages.get(plan?.folder ?? "")?.toml;
  if (plan === undefined || toml === undefined)
    throw new NoEvidenceError(printable`${tree.root} has no image ${image}`);
  const below = dependencyClosure(tree.images, plan.dependencies);
  const images = sortTopologically(new Map([...tree.images].filter(([name]) => below.has(name))));
  const known = await predictDigests(images, (key) => lookUpOwnFirst({ built, ledger }, key));
  const dependencies: Record<string, Digest> = {};
  for (const name of plan.dependencies) {
    const digest = known.get(name);
    if (digest === undefined)
      throw new NoEvidenceError(describeUnknownDigest(name, `which ${image} is built from`));
    dependencies[name] = digest;
  }
  const inputKey = inputKeyOfPlan(plan, dependencies);
  const digests = await lookUpOwnFirst({ built, ledger }, inputKey);
  if (digests === null)
    throw new NoEvidenceError(describeUnknownDigest(image, `with the inputs ${inputKey}`));
  const said = (await built.lookUp(inputKey)).records
    .filter(isBuilt)
    .filter((record) => record.outcome === "built");
  const kept = new FetchRecordStore(built.root);
  const records = withFetchRecords(kept, inputKey, said);
  return {
    plan,
    toml,
    inputKey,
    dependencies,
    versions: Object.fromEntries([...images].map(([name, { version }]) => [name, version])),
    digests,
    records,
    fetches: await fetchesOf(kept, inputKey, records),
  };
}

/**
 * Leaves out records whose fetch record was deleted, if there is another record of the same build
 * with one.
 */
function withFetchRecords<Named extends LedgerRecord>(
  kept: FetchRecordStore,
  inputKey: InputKey,
  records: readonly Named[],
): readonly Named[] {
  const whole = records.filter(({ fetches }) => fetches === undefined || kept.has(inputKey, fetches));
  return whole.some(({ fetches }) => fetches !== undefined) ? whole : records;
}

async function fetchesOf(
  kept: FetchRecordStore,
  inputKey: InputKey,
  records: readonly LedgerRecord[],
): Promise<ReadonlyMap<string, readonly FetchAnswer[]>> {
  const names = new Set(records.flatMap(({ fetches }) => fetches ?? []));
  const found = new Map<string, readonly FetchAnswer[]>();
  for (const name of [...names].sort()) {
    try {
      found.set(name, (await kept.read(inputKey, name)).record.answers);
    } catch (error) {
      // A statement without the fetched files would be false.
      if (error instanceof FetchRecordError) throw new NoEvidenceError(error.message);
      throw error;
    }
  }
  return found;
}

/** Returns the files that a build fetched: the successful answers, each URL and content once. */
export function fetchedFiles(
  answers: readonly FetchAnswer[],
): { readonly url: string; readonly sha256: string }[] {
  const files = new Map<string, string>();
  for (const { url, status, sha256 } of answers)
    if (status === 200 && sha256 !== null) files.set(`${url} ${sha256}`, url);
  return [...files].map(([key, url]) => ({ url, sha256: key.slice(url.length + 1) }));
}

/** The commit of files in a tree. */
export type TreeCommit = {
  readonly commit: string;
  /** Path of the tree in its repository, `examples/seed-tree`; empty if it is the repository. */
  readonly path: string;
};

/**
 * Finds the commit that gave a package's folder its content; null if there is none, or the folder
 * has changed since.
 */
export async function findFolderCommit(root: string, folder: string): Promise<TreeCommit | null> {
  try {
    const repository = await findRepository(root);
    if (repository === undefined || repository.workTree === null) return null;
    const read = (...args: string[]) => runInRepository(repository, root, args);
    const recorded = parseGitEntries(await read("ls-tree", "-r", "-z", "HEAD", "--", folder));
    const tracked = parseGitEntries(await read("ls-files", "--stage", "-z", "--", folder));
    const keeps = diskKeeps(repository);
    if (!isDeepStrictEqual(tracked, recorded)) return null;
    if (!recorded.every((entry) => isUnmodified(root, entry, keeps))) return null;
    const commit = (await read("log", "-1", "--format=%H", "HEAD", "--", folder)).toString().trim();
    return commit === "" ? null : { commit, path: relative(repository.workTree, realpathSync(root)) };
  } catch (error) {
    if (error instanceof GitError) return null;
    throw error;
  }
}

function describeUnknownDigest(image: string, which: string): string {
  return `the ledger does not know the digest of ${image}, ${which}: build it (npm start), or import a release (stagex ledger import)`;
}

function isBuilt(record: LedgerRecord): record is BuiltRecord {
  return record.builder.facts !== null;
}
