import { existsSync } from "node:fs";
import type { Command } from "commander";
import type { BuildPlan } from "../../distro/build-plan.ts";
import type { InputKey } from "../../distro/input-key.ts";
import type { Ledger, LedgerAnswer } from "../../distro/ledger/ledger.ts";
import { medianSeconds } from "../../distro/plan/build-durations.ts";
import { planRebuild, type RebuildPlan } from "../../distro/plan/rebuild-plan.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { ParseCache } from "../../distro/tree/parse-cache.ts";
import { readTree, readTreeSource, type Tree } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { pathsOf } from "../../lib/paths.ts";
import { printable } from "../../lib/text/printable.ts";
import { printError } from "../../lib/text/terminal.ts";
import type { Digest } from "../../oci/digest.ts";
import { CommandError } from "../output/exit-code.ts";
import { printTreeWarnings } from "../output/tree-warnings.ts";

/** The two trees to compare, and the ledger that knows their images. */
export type TreeComparisonOptions = {
  readonly tree: string;
  readonly since: string;
  readonly to?: string;
  readonly ledger?: string;
};

/** Two states of a tree, and the rebuilds between them. */
export type TreeComparison = {
  /** The older side's commit. */
  readonly base: string;
  readonly before: Tree;
  readonly after: Tree;
  readonly plan: RebuildPlan;
  /** Reads the recorded build seconds of each image from the ledger. */
  readonly seconds: () => Promise<ReadonlyMap<string, number>>;
};

/** Gives a command the options of {@link TreeComparisonOptions}. */
export function withComparisonOptions(command: Command): Command {
  return command
    .option("--tree <folder>", "the StageX tree", ".")
    .option("--since <revision>", "the older side: a release, a branch, a commit", "HEAD")
    .option("--to <revision>", "the newer side; the working tree, committed or not, where not given")
    .option("--ledger <folder>", "what is known of digests (default: this project's ledger)");
}

/**
 * Reads both sides and compares them. Writes nothing.
 * @throws TreeError or CommandError that names the unreadable side and the reason
 */
export async function compareTrees(options: TreeComparisonOptions): Promise<TreeComparison> {
  const { tree, since, to } = options;
  const parsed = new ParseCache();
  const [older, newer] = await Promise.allSettled([
    revisionOf(tree, since, parsed),
    to === undefined
      ? readTree(tree, { parseCache: parsed })
      : revisionOf(tree, to, parsed).then((side) => side.read),
  ]);
  const { commit: base, read: before } = settled(older);
  const after = settled(newer);
  printTreeWarnings(after);
  const ledger = await ledgerOf(options);
  const [old, current] = await digestsIn(ledger, [before.images, after.images]);
  const plan = planRebuild(
    { images: before.images, digests: old },
    { images: after.images, digests: current },
  );
  const seconds = async () => medianSeconds((await ledger?.readAll())?.records ?? []);
  return { base, before, after, plan, seconds };
}

/**
 * Unwraps a side, after both were read at once. Where both failed, the older side's error is always
 * the one thrown.
 */
function settled<T>(result: PromiseSettledResult<T>): T {
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

/** Reads the tree of a revision, and resolves the revision's commit. */
async function revisionOf(
  root: string,
  revision: string,
  parsed: ParseCache,
): Promise<{ readonly commit: string; readonly read: Tree }> {
  const commit = await resolveCommit(root, revision);
  try {
    return { commit, read: await readTreeSource(await openGitTree(root, commit), { parseCache: parsed }) };
  } catch (error) {
    if (!(error instanceof TreeError)) throw error;
    const name = commit.startsWith(revision) ? commit : `${revision} (${commit})`;
    throw new CommandError(`${printable`the tree at ${name} cannot be read:`}\n${error.message}`);
  }
}

async function ledgerOf({ ledger }: TreeComparisonOptions): Promise<Ledger | undefined> {
  if (ledger !== undefined && !existsSync(ledger)) throw new CommandError(printable`no ledger at ${ledger}`);
  const root = ledger ?? pathsOf().ledger;
  if (!existsSync(root)) return undefined;
  const { Ledger } = await import("../../distro/ledger/ledger.ts");
  return new Ledger(root);
}

type Images = ReadonlyMap<string, BuildPlan>;
type Digests = ReadonlyMap<string, Digest>;

/** Predicts the digests of both sides from the ledger. Without a ledger, computes no input key. */
async function digestsIn(
  ledger: Ledger | undefined,
  [before, after]: readonly [Images, Images],
): Promise<[Digests, Digests]> {
  if (ledger === undefined) return [new Map(), new Map()];
  const { predictDigests } = await import("../../distro/plan/predict-digests.ts");
  const lookup = lookupIn(ledger);
  return await Promise.all([predictDigests(before, lookup), predictDigests(after, lookup)]);
}

/**
 * Returns a lookup that reads each key from the ledger once: both sides share most of their keys.
 */
function lookupIn(ledger: Ledger): (key: InputKey) => Promise<LedgerAnswer["digests"]> {
  const answers = new Map<InputKey, Promise<LedgerAnswer["digests"]>>();
  return (key) => {
    const answer = answers.get(key) ?? askLedger(ledger, key);
    answers.set(key, answer);
    return answer;
  };
}

async function askLedger(ledger: Ledger, key: InputKey): Promise<LedgerAnswer["digests"]> {
  const { digests, problems } = await ledger.lookUp(key);
  for (const { path, problem } of problems) printError(printable`left out of the ledger: ${path} ${problem}`);
  return digests;
}
