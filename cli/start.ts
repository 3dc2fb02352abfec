import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { chooseImages } from "../distro/graph.ts";
import { parseConfig } from "../providers/stagex/config.ts";
import { configuredTree } from "../providers/stagex/configured-tree.ts";
import { parseJournal } from "../providers/stagex/journal.ts";
import type { Properties } from "../providers/stagex/wire.ts";
import { placesOf } from "../tools/places.ts";
import { asUsage, CommandError, exitCode } from "./exit-code.ts";
import { provideEngine } from "./pulumi.ts";
import { resultTable } from "./result-table.ts";
import { type ChosenImage, runRows } from "./run-rows.ts";
import { type LockHolder, Stack } from "./stack.ts";

/** `stagex start`: the main job, from nothing to a table of digests. */
export function startCommand(): Command {
  return new Command("start")
    .description(
      "Sets up what is missing, brings a stack up (by default the example tree's), and ends with a table of its\n" +
        "images: digest, built or reused, seconds, and whether the published digest is the same.",
    )
    .option("--stack <name>", "the stack to bring up; made where there is none", "dev")
    .argument("[arguments...]", "more for `pulumi up`, after --")
    .action(start);
}

async function start(more: readonly string[], { stack: name }: { stack: string }): Promise<void> {
  const places = placesOf();
  const stack = new Stack(name, await provideEngine(true), places);
  await stack.select();
  const holder = await stack.releaseDeadLocks();
  if (holder) throw new CommandError(atWork(name, holder), exitCode.no);
  // Before the engine starts: what is wrong with the settings or the tree is then said once, and alone.
  const chosen = await chosenImages(stack).catch((error: unknown) => Promise.reject(asUsage(error)));
  const journal = join(places.state, `journal-${process.pid}.jsonl`);
  await mkdir(places.state, { recursive: true });
  try {
    // Refreshed, so that what was damaged or lost since the last time is found and made again.
    const args = ["up", "--yes", "--skip-preview", "--refresh", "--suppress-outputs", ...more];
    const code = await stack.run(args, { STAGEX_JOURNAL: journal });
    const noted = parseJournal(await readFile(journal, "utf8").catch(() => ""));
    const rows = runRows(chosen, await stack.digests(), noted);
    process.stdout.write(`\n${resultTable(rows)}\n`);
    if (code !== 0) throw new CommandError(unfinished(code), exitCode.no);
  } finally {
    await rm(journal, { force: true });
  }
}

function atWork(name: string, { pid, timestamp }: LockHolder): string {
  return `another run is at work on stack ${name} since ${timestamp}. Wait for it, or end it: kill -INT ${pid}`;
}

function unfinished(code: number | NodeJS.Signals): string {
  const how =
    typeof code === "number"
      ? `ended with ${code}; its messages are above the table`
      : `was ended by ${code}`;
  return `pulumi up ${how}. What it built is kept: the next npm start goes on from there`;
}

async function chosenImages(stack: Stack): Promise<ChosenImage[]> {
  const config = parseConfig((await stack.config()) as Properties);
  const tree = await configuredTree(config, placesOf());
  return chooseImages(tree.images, config.images).map(({ name }) => ({
    name,
    published: tree.digests.get(name),
    isCompared: config.verify,
  }));
}
