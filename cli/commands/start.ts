import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import {
  type ConfigKey,
  type ConfigValues,
  configShape,
  parseConfig,
  type StagexConfig,
} from "../../config/schema.ts";
import { selectImages } from "../../distro/image-names.ts";
import { firstPublishedDigest } from "../../distro/published/published-digests.ts";
import { type Paths, pathsOf } from "../../lib/paths.ts";
import { groupMessages } from "../../lib/text/grouped-messages.ts";
import { printable, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { hexOf, parseDigest } from "../../oci/digest.ts";
import { readConfiguredTree } from "../../pipeline/context/open-tree.ts";
import { parseRunReport } from "../../pipeline/context/run-report.ts";
import { checkpointEnvironment } from "../../pulumi-workarounds/checkpoints.ts";
import type { LockHolder } from "../../pulumi-workarounds/stale-locks.ts";
import { parallelismEnvironment } from "../engine/engine-parallelism.ts";
import { provideEngine } from "../engine/provide-engine.ts";
import { releaseOutputs } from "../engine/release-outputs.ts";
import { Stack } from "../engine/stack.ts";
import { asUsageError, CommandError, exitCode } from "../output/exit-code.ts";
import { formatResultTable } from "../output/result-table.ts";
import { type ChosenImage, summarizeRun } from "../output/run-summary.ts";
import { type RehearsedImage, rehearse } from "../rehearsal/rehearsal.ts";

/** `stagex start`: does the main job, from nothing to a table of digests. */
export function startCommand(): Command {
  return new Command("start")
    .description(
      "Sets up what is missing, brings a stack up (by default the example tree's), and prints a table of its images:\n" +
        "digest, built or reused, seconds, and the published digest if it differs. Then it rehearses a release of the\n" +
        "example tree: throw-away maintainers sign it, and it is published to a registry on loopback.",
    )
    .option("--stack <name>", "the stack to bring up; created if there is none", "dev")
    .option("--no-rehearsal", "stop after building")
    .argument("[arguments...]", "more arguments for `pulumi up`, after --")
    .action(start);
}

type Options = { stack: string; rehearsal: boolean };

async function start(more: readonly string[], { stack: name, rehearsal }: Options): Promise<void> {
  const paths = pathsOf();
  const engine = await provideEngine(true);
  const stack = new Stack(name, engine, paths);
  await stack.select();
  const holder = await stack.removeStaleLocks();
  if (holder) throw new CommandError(atWork(name, holder), exitCode.no);
  // Before the engine starts, so that an error in the settings or the tree is reported once, and
  // alone.
  const settings = await stack.getConfig();
  const { config, chosen } = await chosenImages(settings).catch((error: unknown) =>
    Promise.reject(asUsageError(error)),
  );
  // The refresh finds what was damaged or lost since the last run, so that it is built again.
  const up = ["up", "--yes", "--skip-preview", "--refresh", "--suppress-outputs", ...more];
  if (config.stack === "release") return await bringReleaseUp(stack, up);
  if (config.stack === "fleet") return await bringUp(stack, up);
  const environment = { ...checkpointEnvironment(config), ...parallelismEnvironment(config, process.env) };
  await build(stack, up, { chosen, paths, verify: config.verify, environment });
  if (!rehearsal || !isExample(settings)) return;
  const digests = await stack.readDigests();
  await rehearse({
    ...{ paths, engine, settings: buildSettings(settings) },
    images: chosen.flatMap(({ name: image, version }): RehearsedImage[] => {
      const digest = digests.get(image);
      return digest === undefined ? [] : [{ name: image, version, digest: parseDigest(digest) }];
    }),
    report: (line) => print(printable`${line}`),
  });
}

/** Brings a reproduce stack up, and prints a table of its images. */
async function build(
  stack: Stack,
  up: readonly string[],
  {
    chosen,
    paths,
    verify,
    environment,
  }: Pick<StagexConfig, "verify"> & {
    chosen: readonly ChosenImage[];
    paths: Paths;
    environment: NodeJS.ProcessEnv;
  },
): Promise<void> {
  const journal = join(paths.state, `journal-${process.pid}.jsonl`);
  await mkdir(paths.state, { recursive: true });
  try {
    const code = await stack.run(up, { ...environment, STAGEX_JOURNAL: journal });
    const noted = parseRunReport(await readFile(journal, "utf8").catch(() => ""));
    const rows = summarizeRun(chosen, await stack.readDigests(), noted, verify);
    print(printableLines([printable``, formatResultTable(rows)]));
    if (code !== 0) {
      throw new CommandError(unfinished(code, "above the table", "built is kept"), exitCode.no);
    }
  } finally {
    await rm(journal, { force: true });
  }
}

/** Brings a release stack up, and prints what the images below quorum lack. */
async function bringReleaseUp(stack: Stack, up: readonly string[]): Promise<void> {
  // Each image has a quorum of its own.
  const code = await stack.run([...up, "--continue-on-error"]);
  const { published, pending } = releaseOutputs.parse(await stack.readOutputs());
  const lines = groupMessages(Object.entries(pending)).map((line) => printable`${line}`);
  const counts = printable`${Object.keys(published).length} published, ${Object.keys(pending).length} pending.`;
  print(printableLines([printable``, ...lines, counts]));
  if (code !== 0) throw new CommandError(unfinished(code, "above", "published stays"), exitCode.no);
}

async function bringUp(stack: Stack, up: readonly string[]): Promise<void> {
  const code = await stack.run(up);
  if (code !== 0) throw new CommandError(unfinished(code, "above", "made is kept"), exitCode.no);
}

/** Checks for the example tree: signatures of made-up maintainers mean nothing for a real one. */
function isExample({ tree }: Readonly<Record<string, unknown>>): boolean {
  return tree === undefined || tree === configShape.tree.parse(undefined);
}

/** Returns the settings of a stack that choose what is built, and by which daemon. */
function buildSettings(settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const names = ["tree", "images", "platforms", "verify", "buildkit", "jobs"] satisfies ConfigKey[];
  const kept = Object.entries(settings).filter(([name]) => names.some((key) => key === name));
  return Object.fromEntries(
    kept.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

function atWork(name: string, { pid, timestamp }: LockHolder): string {
  return `another run has been working on stack ${name} since ${timestamp}. Wait for it, or end it: kill -INT ${pid}`;
}

/**
 * @param where the place of its messages
 * @param kept the part of its work that is kept
 */
function unfinished(code: number | NodeJS.Signals, where: string, kept: string): string {
  const how =
    typeof code === "number" ? `ended with ${code}; its messages are ${where}` : `was ended by ${code}`;
  return `pulumi up ${how}. What it ${kept}: the next npm start goes on from there`;
}

async function chosenImages(
  settings: Readonly<Record<string, unknown>>,
): Promise<{ config: StagexConfig; chosen: ChosenImage[] }> {
  const config = parseConfig(settings as ConfigValues);
  const tree = await readConfiguredTree(config, pathsOf());
  const published = (name: string) => {
    const digest = firstPublishedDigest(tree, name);
    return digest && hexOf(digest);
  };
  const chosen = selectImages(tree.images, config.images).map(({ name, version }) => ({
    name,
    version,
    published: published(name),
  }));
  return { config, chosen };
}
