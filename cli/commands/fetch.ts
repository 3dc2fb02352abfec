import { Command } from "commander";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { ImageNameError, resolveImageNames } from "../../distro/image-names.ts";
import { readTree, type Tree } from "../../distro/tree/tree.ts";
import { type Printable, printable, printableJson, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import type { SourceFailure, SourceProgress } from "../../sources/download/source-error.ts";
import { type PlannedFetch, planFetch } from "../../sources/fetch-plan.ts";
import { type FetchOutcome, fetchSources } from "../../sources/fetch-sources.ts";
import { type PushReport, pushToVault } from "../../sources/push-to-vault.ts";
import type { SourceCache } from "../../sources/source-cache.ts";
import { listWantedSources } from "../../sources/wanted-source.ts";
import { type CacheOptions, openConfiguredCache } from "../fetch/configured-cache.ts";
import { formatPushReports, hasFailed, type PushedSource, pushedSource } from "../fetch/push-report.ts";
import { findRecordedFetches, type RecordedFetches } from "../fetch/recorded-fetches.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";
import { printTreeWarnings } from "../output/tree-warnings.ts";

type Options = CacheOptions & { tree: string; dryRun?: true; json?: true; push?: true };

/** A source in the output of `stagex fetch --json`; other programs read it. */
export type FetchedSource = {
  readonly file: string;
  readonly sha256: string;
  readonly images: readonly string[];
  /**
   * URLs in the order in which they are tried. A place of the vault stands in its turn, as
   * `https:`, `file:` or `oci:` URL. Software Heritage, the last resort, is not listed.
   */
  readonly mirrors: readonly string[];
  /** After a fetch, `missing` means that no place gave it. */
  readonly status: PlannedFetch["status"];
  /** With `--push`: the result at each place of the vault. */
  readonly vault?: PushedSource;
};

/** Creates `stagex fetch`, which gets the sources of a tree ahead of time. */
export function fetchCommand(): Command {
  return new Command("fetch")
    .description(
      "Fetches the sources of a tree, or of some images, into the cache, and verifies each by its hash. Needs no engine.\n" +
        "Asked are the tree's own fetch/ folder, the vault's first places, the mirrors, the vault's last places, and then Software Heritage,\n" +
        "which archives published source code, by sha256. Exits with 0 if all are there, with 1 if one can't be had or pushed, with 2 if the\n" +
        "tree or a setting can't be read.",
    )
    .argument(
      "[name...]",
      "images, by name or glob: core-busybox, busybox, 'core-*', '!core-llvm'; all of them where none is given",
    )
    .option("--tree <folder>", "the StageX tree", ".")
    .option("--dry-run", "only tell what is there, what is missing, and where it would be fetched from")
    .option("--https-only", "ask no mirror over http")
    .option("--no-software-heritage", "do not ask Software Heritage for what no other place gave")
    .option(
      "--vault <json>",
      'places that hold sources by sha256, as stagex:vault: \'[{"folder":"/srv/vault"}]\'',
    )
    .option("--stack <name>", "take stagex:sources and stagex:vault from this stack")
    .option("--push", "then push the sources that the vault lacks to its folders and registries")
    .option(
      "--json",
      "an array, one object a source: file, sha256, images, mirrors (URLs in the order in which they are asked, the vault's among them), status; with --push also vault",
    )
    .action(async (names: string[], options: Options) => {
      const tree = await readTree(options.tree);
      printTreeWarnings(tree);
      const cache = await openConfiguredCache(options);
      if (options.push) checkPush(cache, options);
      const images = chosenImages(tree, names);
      const recorded = await findRecordedFetches(tree, images);
      const plan = await planFetch([...listWantedSources(images, tree.root), ...recorded.wanted], cache);
      const signal = untilInterrupted();
      const outcomes = options.dryRun
        ? []
        : await fetchSources(plan, cache, signal, progressLine(plan.length), reportProgress);
      const reports = options.push ? await pushed(plan, cache, signal) : [];
      const withPush = (one: FetchedSource): FetchedSource =>
        options.push ? { ...one, vault: pushedSource(one.sha256, reports) } : one;
      const found = (options.dryRun ? plan.map(shown) : outcomes.map(shownOutcome)).map(withPush);
      print(options.json ? printableJson(found) : page(found, outcomes, { plan, reports, recorded }));
      const isWrong = ({ status }: FetchedSource) =>
        status === "refused" || (status === "missing" && !options.dryRun);
      if (found.some(isWrong) || reports.some(hasFailed)) process.exitCode = exitCode.no;
    });
}

function checkPush({ vault }: SourceCache, { dryRun }: Options): void {
  if (dryRun) throw new CommandError("either --dry-run or --push, not both");
  if (vault.some(({ writer }) => writer !== undefined)) return;
  throw new CommandError(
    `--push has no place to push to; name a folder or a registry: --vault '[{"folder":"/srv/vault"}]', or --stack with stagex:vault`,
  );
}

async function pushed(
  plan: readonly PlannedFetch[],
  cache: SourceCache,
  signal: AbortSignal,
): Promise<PushReport[]> {
  const sources = plan.map(({ source: { file, sha256 } }) => ({ name: file, sha256 }));
  return await pushToVault(sources, {
    cache,
    signal,
    onPushed: ({ name }, place) => printError(printable`pushed ${name} to ${place}`),
  });
}

/** Reports important events: a failing place of the vault, and a request to the last resort. */
function reportProgress(file: string, progress: SourceProgress): void {
  if (progress.kind === "failed" && progress.isNews)
    printError(printable`${file}: ${progress.from}: ${progress.reason}`);
  if (progress.kind !== "last-resort") return;
  if (progress.phase === "given") printError(printable`${file} came from Software Heritage`);
  else printError(printable`${file}: no mirror gave it; asking Software Heritage, the last resort`);
}

function chosenImages(tree: Tree, names: readonly string[]): BuildPlan[] {
  if (names.length === 0) return [...tree.images.values()];
  try {
    return resolveImageNames(tree.images, names).flatMap((name) => tree.images.get(name) ?? []);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    throw new CommandError(`${error.message} (${tree.images.size} images in ${tree.root})`);
  }
}

/**
 * Returns a signal for interruption. Files fetched so far stay in the cache, and the next call
 * continues from there.
 */
function untilInterrupted(): AbortSignal {
  const interrupted = new AbortController();
  process.once("SIGINT", () =>
    interrupted.abort(new CommandError("interrupted; call it again to go on", 130)),
  );
  return interrupted.signal;
}

function progressLine(total: number): (outcome: FetchOutcome) => void {
  let ended = 0;
  return ({ planned: { source }, isObtained }) => {
    ended += 1;
    printError(printable`[${ended}/${total}] ${source.file}${isObtained ? "" : ": can't be had"}`);
  };
}

function shown({ source: { file, sha256, images }, urls, status }: PlannedFetch): FetchedSource {
  return { file, sha256, images, mirrors: urls, status };
}

function shownOutcome({ planned, isObtained }: FetchOutcome): FetchedSource {
  const failed = planned.status === "refused" ? "refused" : "missing";
  return shown({ ...planned, status: isObtained ? "there" : failed });
}

/** The facts that a page shows beside the sources. */
type Found = {
  readonly plan: readonly PlannedFetch[];
  readonly reports: readonly PushReport[];
  readonly recorded: RecordedFetches;
};

/**
 * Formats the problems that a maintainer acts on, then the counts. Problems are missing sources,
 * and mirrors that failed or changed. The counts include the sources with a single mirror.
 */
function page(
  found: readonly FetchedSource[],
  outcomes: readonly FetchOutcome[],
  { plan, reports, recorded: { wanted, unrecorded } }: Found,
): Printable {
  const counts = Map.groupBy(found, ({ status }) => status);
  const count = (status: FetchedSource["status"]) => counts.get(status)?.length ?? 0;
  const lost = [...(counts.get("missing") ?? []), ...(counts.get("refused") ?? [])];
  const failures = outcomes.flatMap(({ failures }) => failures);
  const single = plan.filter(({ mirrors }) => new Set(mirrors.map(hostOf)).size === 1);
  const failureLine = ({ from, reason }: SourceFailure) => printable`  ${from}: ${reason}`;
  return printableLines([
    ...section(printable`missing:`, lost.map(lostLine)),
    ...section(printable`changed content:`, failures.filter(({ got }) => got !== null).map(failureLine)),
    ...section(printable`mirrors that failed:`, failures.filter(({ got }) => got === null).map(failureLine)),
    ...section(
      printable`fetch in a RUN, and have no fetch record yet: the first build makes it`,
      unrecorded.map((image) => printable`  ${image}`),
    ),
    ...(wanted.length === 0 ? [] : [printable`${wanted.length} of these were recorded in a RUN`]),
    printable`${found.length} sources: ${count("there")} there, ${count("missing")} missing, ${count("refused")} refused; ${single.length} have one mirror only`,
    ...formatPushReports(reports),
  ]);
}

function lostLine({ file, images, status, mirrors }: FetchedSource): Printable {
  const where = status === "refused" ? "no mirror of it may be asked" : (mirrors[0] ?? "");
  return printable`  ${file}  ${where}  for ${images.join(", ")}`;
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}

function section(title: Printable, lines: readonly Printable[]): Printable[] {
  return lines.length === 0 ? [] : [title, ...lines, printable``];
}
