import { Command } from "commander";
import type { BuildPlan } from "../distro/build-plan.ts";
import { namesLike, UnknownImageError } from "../distro/graph.ts";
import { readTree, type Tree } from "../distro/tree.ts";
import { type Printable, printable, printableJson, printableLines } from "../lib/printable.ts";
import { print, printError } from "../lib/terminal.ts";
import { type PlannedFetch, planFetch } from "../sources/fetch-plan.ts";
import { type FetchOutcome, fetchAll } from "../sources/fetch-run.ts";
import { SourceCache, type SourceFailure } from "../sources/source-cache.ts";
import { wantedSources } from "../sources/wanted-source.ts";
import { placesOf } from "../tools/places.ts";
import { CommandError, exitCode } from "./exit-code.ts";
import { type RecordedFetches, recordedFetches } from "./recorded-fetches.ts";

type Options = { tree: string; dryRun?: true; json?: true; httpsOnly?: true };

/** What `stagex fetch --json` prints of a source; other programs read it. */
export type FetchedSource = {
  readonly file: string;
  readonly sha256: string;
  readonly images: readonly string[];
  /** URLs in the order in which they are asked. */
  readonly mirrors: readonly string[];
  /** After a fetch, `missing` means that no place gave it. */
  readonly status: PlannedFetch["status"];
};

/** `stagex fetch`: gets the sources of a tree ahead of time. */
export function fetchCommand(): Command {
  return new Command("fetch")
    .description(
      "Fetches the sources of a tree, or of some images, into the cache, and verifies each by its hash. Needs no engine.\n" +
        "Exits with 0 if all are there, with 1 if one can't be had, with 2 if the tree can't be read.",
    )
    .argument("[name...]", "images, by name or glob: core-busybox 'core-*'; all of them where none is given")
    .option("--tree <folder>", "the StageX tree", ".")
    .option("--dry-run", "only tell what is there, what is missing, and where it would be fetched from")
    .option("--https-only", "ask no mirror over http")
    .option("--json", "an array, one object a source: file, sha256, images, mirrors, status")
    .action(async (names: string[], options: Options) => {
      const tree = await readTree(options.tree);
      const cache = await SourceCache.open(placesOf().sources, { httpsOnly: options.httpsOnly === true });
      const images = chosenImages(tree, names);
      const recorded = await recordedFetches(tree, images);
      const plan = await planFetch([...wantedSources(images, tree.root), ...recorded.wanted], cache);
      const outcomes = options.dryRun
        ? []
        : await fetchAll(plan, cache, untilInterrupted(), progressLine(plan.length));
      const found = options.dryRun ? plan.map(shown) : outcomes.map(shownOutcome);
      print(options.json ? printableJson(found) : page(found, outcomes, recorded));
      const isWrong = ({ status }: FetchedSource) =>
        status === "refused" || (status === "missing" && !options.dryRun);
      if (found.some(isWrong)) process.exitCode = exitCode.no;
    });
}

function chosenImages(tree: Tree, names: readonly string[]): BuildPlan[] {
  if (names.length === 0) return [...tree.images.values()];
  try {
    return namesLike(tree.images, names).flatMap((name) => tree.images.get(name) ?? []);
  } catch (error) {
    if (!(error instanceof UnknownImageError)) throw error;
    throw new CommandError(`${error.message} (${tree.images.size} images in ${tree.root})`);
  }
}

/** What came of each file so far stays in the cache, and the next call goes on from there. */
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

/** The counts, then what a maintainer acts on: what is missing, which mirrors are dead or changed, what hangs on a single mirror. */
function page(
  found: readonly FetchedSource[],
  outcomes: readonly FetchOutcome[],
  { wanted, unrecorded }: RecordedFetches,
): Printable {
  const counts = Map.groupBy(found, ({ status }) => status);
  const count = (status: FetchedSource["status"]) => counts.get(status)?.length ?? 0;
  const lost = [...(counts.get("missing") ?? []), ...(counts.get("refused") ?? [])];
  const failures = outcomes.flatMap(({ failures }) => failures);
  const single = found.filter(({ mirrors }) => new Set(mirrors.map(hostOf)).size === 1);
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
