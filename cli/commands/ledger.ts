import { statSync } from "node:fs";
import { Command } from "commander";
import { ImageNameError, resolveImageNames } from "../../distro/image-names.ts";
import {
  type Contradiction,
  findContradictions,
  Ledger,
  type LedgerProblem,
  type LedgerRecord,
} from "../../distro/ledger/ledger.ts";
import {
  createReleaseRecords,
  hasManifestDigests,
  type ReleaseRecords,
  type SkippedImage,
} from "../../distro/published/release-records.ts";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { readTreeSource } from "../../distro/tree/tree.ts";
import { runGitIn } from "../../lib/git/isolated-git.ts";
import { pathsOf } from "../../lib/paths.ts";
import { limitPerKind } from "../../lib/text/limit-per-kind.ts";
import { type Printable, printable, printableLines } from "../../lib/text/printable.ts";
import { print, printError } from "../../lib/text/terminal.ts";
import { CommandError, exitCode } from "../output/exit-code.ts";

type Place = { ledger: string };

/** Creates `stagex ledger`, which imports, shows and checks records of builds. */
export function ledgerCommand(): Command {
  const command = new Command("ledger").description(
    "The ledger: which digest was built from which inputs, by whom. A folder of small files that git merges.",
  );
  const withPlace = (subcommand: Command): Command =>
    subcommand.option("--ledger <folder>", "the ledger, this checkout's own by default", pathsOf().ledger);
  command.addCommand(
    withPlace(new Command("import"))
      .description(
        "Takes in what a published release says, so that previews are exact before anything is built.",
      )
      .requiredOption("--release <tag>", "the release, a tag of the tree's repository")
      .option("--tree <folder>", "the StageX tree", ".")
      .action(importRelease),
  );
  command.addCommand(
    withPlace(new Command("show"))
      .description("Shows what the ledger knows of images: which inputs gave which digest, and who says so.")
      .argument("<name...>", "images, by name or glob: core-busybox, busybox, 'core-*', '!core-llvm'")
      .action(show),
  );
  command.addCommand(
    withPlace(new Command("check"))
      .description(
        "Looks for contradictions (one input key, two digests), and for what is no record or can't be read. " +
          "Exits 0 where all is well, 1 where records contradict each other, 2 where no contradiction was found but some files could not be read. " +
          "Hidden files, README and LICENSE are passed over; links are not followed.",
      )
      .action(check),
  );
  return command;
}

async function importRelease({
  ledger: folder,
  release,
  tree: root,
}: Place & { release: string; tree: string }) {
  if (!/^[a-z0-9][a-z0-9._-]{0,50}$/.test(release)) {
    throw new CommandError(
      `${JSON.stringify(release)} is no release's tag (a release is named like 2026.03.0)`,
    );
  }
  if (!hasManifestDigests(release)) {
    throw new CommandError(
      `${release} can't be taken in: up to 2025.06.0 StageX published the digests of image indexes, not of the manifests that ` +
        "the ledger is of. Take 2025.06.1 or a later one.",
    );
  }
  const commit = await resolveCommit(root, `refs/tags/${release}`);
  const tree = await readTreeSource(await openGitTree(root, commit));
  const finished = new Date((await runGitIn(root, ["show", "-s", "--format=%cI", commit])).toString().trim());
  const ledger = new Ledger(folder);
  const known = async (key: LedgerRecord["inputKey"]) => (await ledger.lookUp(key)).digests;
  const imported = await createReleaseRecords({ name: release, tree, finished }, known);
  for (const record of imported.records) await ledger.append(record);
  const contradictions = await contradictedBy(ledger, imported.records);
  print(importText(release, tree.images.size, imported, contradictions));
  if (contradictions.length > 0) process.exitCode = exitCode.no;
}

async function contradictedBy(ledger: Ledger, records: readonly LedgerRecord[]): Promise<Contradiction[]> {
  const answers = [];
  for (const { inputKey } of records) answers.push(await ledger.lookUp(inputKey));
  return findContradictions(answers.flatMap((answer) => answer.records));
}

/** Formats the result of an import. */
function importText(
  release: string,
  images: number,
  { records, skipped: leftOut, gone }: ReleaseRecords,
  contradictions: readonly Contradiction[],
): Printable {
  const lines = [printable`${release}: ${records.length} of ${images} images are in the ledger now`];
  for (const [why, some] of Map.groupBy(leftOut, (one) => one.why)) {
    lines.push(printable`${some.length} left out: ${reasons[why]}:`, ...some.map(leftOutLine));
  }
  if (gone.length > 0) {
    lines.push(
      printable`${gone.length} digests are of images that the tree does not have: ${gone.join(", ")}`,
    );
  }
  lines.push(...contradictions.flatMap(contradictionLines));
  return printableLines(lines);
}

const reasons: Readonly<Record<SkippedImage["why"], string>> = {
  "not published": "digests/*.txt do not have them",
  "dependency not published": "digests/*.txt do not have what they are built from",
  "index not published":
    "they are built from images for several platforms, of which only the first one's digest is published, and no index",
};

function leftOutLine({ image, dependencies }: SkippedImage): Printable {
  return printable`  ${image}${dependencies.length > 0 ? ` (from ${dependencies.join(", ")})` : ""}`;
}

/** Opens a ledger for reading. This checkout's own may not exist yet; a named one must exist. */
function ledgerAt(folder: string): Ledger {
  const isThere = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (!isThere && folder !== pathsOf().ledger) throw new CommandError(printable`no ledger at ${folder}`);
  return new Ledger(folder);
}

async function show(names: readonly string[], { ledger: folder }: Place): Promise<void> {
  const { records, problems } = await ledgerAt(folder).readAll();
  const images = Map.groupBy(records, ({ image }) => image);
  const chosen = chosenNames(images, names, folder);
  const contradicted = new Set(findContradictions(records).map(({ inputKey }) => inputKey));
  for (const name of chosen) {
    print(printable`${name}`);
    for (const [key, ofKey] of Map.groupBy(images.get(name) ?? [], ({ inputKey }) => inputKey)) {
      print(printable`  inputs ${key}${contradicted.has(key) ? "  CONTRADICTED" : ""}`);
      for (const record of ofKey) print(printable`    ${recordLine(record)}`);
    }
  }
  reportProblems(problems);
}

function chosenNames(
  images: ReadonlyMap<string, unknown>,
  names: readonly string[],
  folder: string,
): readonly string[] {
  try {
    return resolveImageNames(images, names);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    throw new CommandError(
      `${error.message} ${printable`(${images.size} images in the ledger ${folder})`}`,
      exitCode.no,
    );
  }
}

async function check({ ledger: folder }: Place): Promise<void> {
  const { records, problems } = await ledgerAt(folder).readAll();
  const contradictions = findContradictions(records);
  print(checkText(records, contradictions));
  reportProblems(problems);
  // Contradictions stay whatever else there is. Without one, the unread files could still contain
  // one.
  if (contradictions.length > 0) process.exitCode = exitCode.no;
  else if (problems.length > 0) process.exitCode = exitCode.usage;
}

/** Formats the result of a check. */
function checkText(records: readonly LedgerRecord[], contradictions: readonly Contradiction[]): Printable {
  const count = (of: (record: LedgerRecord) => string): number => new Set(records.map(of)).size;
  const keys = count(({ inputKey }) => inputKey);
  const builders = count(({ builder }) => builder.id);
  const lines = [
    ...contradictions.flatMap(contradictionLines),
    ...(contradictions.length > 0 ? [contradictionHint] : []),
    printable`${counted(records.length, "record")} of ${counted(keys, "input key")} by ${counted(builders, "builder")}, ${counted(contradictions.length, "contradiction")}`,
  ];
  return printableLines(lines);
}

const contradictionHint = printable`Until one of them goes, images of these inputs are built anew. Build it here (pulumi up --replace), see whose digest comes out, and delete the other's file.`;

function counted(count: number, noun: string, several = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : several}`;
}

function contradictionLines({ inputKey, records }: Contradiction): Printable[] {
  const [first] = records;
  return [
    printable`contradiction: ${first?.image ?? ""}, inputs ${inputKey}:`,
    ...records.map((one) => printable`  ${recordLine(one)}`),
  ];
}

function recordLine({ digests, builder, finished, seconds, memory, outcome }: LedgerRecord): string {
  const platforms = Object.entries(digests.platforms).map(([platform, digest]) => `${platform} ${digest}`);
  const time = seconds === null ? "" : `, ${seconds.toFixed(1)} s`;
  const peak = memory === undefined ? "" : `, ${(memory / 2 ** 20).toFixed(0)} MiB of memory`;
  const mismatch = outcome === "mismatch" ? ", another digest was expected" : "";
  return `${platforms.join(" ")}  ${builder.id}, ${finished.slice(0, 10)}${time}${peak}${mismatch}`;
}

/**
 * The most problems that are printed one by one: a ledger that others write to can have any number.
 */
const shownProblems = 100;

/** Reports problems on stderr, as they are not part of the answer. */
function reportProblems(problems: readonly LedgerProblem[]): void {
  if (problems.length === 0) return;
  const lines = limitPerKind(
    problems,
    ({ problem }) => problem,
    ({ path, problem }) => printable`left out: ${path} ${problem}`,
    (count, { problem }) => printable`left out: and ${count} more, each of which ${problem}`,
  );
  for (const line of lines.slice(0, shownProblems)) printError(line);
  printError(
    printable`${counted(problems.length, "entry", "entries")} of the ledger left out of all answers: restore each from git or a copy, or delete it; what it said is then built again`,
  );
}
