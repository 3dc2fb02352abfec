import { Command } from "commander";
import { forecast, type Verdict } from "../distro/forecast.ts";
import { levelsOf } from "../distro/graph.ts";
import type { Rebuild } from "../distro/rebuild-plan.ts";
import { causeSummary } from "./cause-text.ts";
import { comparingTrees, readTreeChange, type TreeChange, type TreeChangeOptions } from "./tree-change.ts";

type Options = TreeChangeOptions & { json?: true };

/** What `stagex plan --json` prints; other programs read it. */
export type ShownPlan = {
  /** The older side's commit. */
  readonly base: string;
  /** How many images the newer side has. */
  readonly images: number;
  readonly rebuild: readonly Rebuild[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
};

/** `stagex plan`: what a change of the tree rebuilds. */
export function planCommand(): Command {
  return comparingTrees(new Command("plan"))
    .description(
      "Tells which images a change of a tree rebuilds, and why. Needs git and no engine, and writes nothing.",
    )
    .option("--json", "one object: base, images, rebuild, added, removed, unchanged")
    .action(async (options: Options) => {
      const change = await readTreeChange(options);
      process.stdout.write(
        options.json ? `${JSON.stringify(shown(change), null, 2)}\n` : page(change, options),
      );
    });
}

function shown({ base, after, plan }: TreeChange): ShownPlan {
  return {
    base,
    images: after.images.size,
    rebuild: plan.rebuild.map(({ name, certainty, causes, path }) => ({ name, certainty, causes, path })),
    added: plan.added,
    removed: plan.removed,
    unchanged: plan.unchanged,
  };
}

function page(change: TreeChange, { since, to, tree }: Options): string {
  const { base, after, plan } = change;
  const newer = to ?? `the working tree ${tree}`;
  const title = `What it takes from ${since} (${base.slice(0, 12)}) to ${newer}\n\n`;
  const rows = rowsOf(change);
  const count = (certainty: Rebuild["certainty"]) =>
    plan.rebuild.filter((rebuild) => rebuild.certainty === certainty).length;
  const counts =
    `${after.images.size} images: ${count("will")} will be rebuilt, ${count("may")} may be, ` +
    `${plan.added.length} new, ${plan.unchanged.length} unchanged; ${plan.removed.length} removed\n`;
  return `${title}${rows.length === 0 ? "" : `${table(rows)}\n`}${counts}${mostCaused(change)}`;
}

/** The images that cause most, as a preview names them. */
function mostCaused({ after, plan }: TreeChange): string {
  const verdicts = new Map<string, Verdict>([
    ...plan.added.map((name) => [name, "will"] as const),
    ...plan.rebuild.map(({ name, certainty }) => [name, certainty] as const),
  ]);
  const images = [...after.images].map(([name, { dependencies }]) => {
    return [name, { verdict: verdicts.get(name) ?? "unchanged", dependencies, seconds: null }] as const;
  });
  const causes = forecast(new Map(images), 1).causes.filter(({ dependents }) => dependents > 0);
  if (causes.length === 0) return "";
  const named = causes.slice(0, 3).map(({ image, dependents }) => `${image} (${dependents} images)`);
  return `Most is caused by ${named.join(", ")}.\n`;
}

/** A line for each image that is not left as it is, sorted by level, those that are gone last. */
function rowsOf({ after, plan }: TreeChange): string[][] {
  const levels = levelsOf(after.images);
  const rebuilds = new Map(plan.rebuild.map((rebuild) => [rebuild.name, rebuild]));
  const added = new Set(plan.added);
  const rows = [...after.images.keys()].flatMap((name) => {
    const level = String(levels.get(name) ?? "");
    const rebuild = rebuilds.get(name);
    if (added.has(name)) return [[level, "new", name, ""]];
    return rebuild === undefined ? [] : [[level, rebuild.certainty, name, because(rebuild)]];
  });
  return [...rows, ...plan.removed.map((name) => ["", "removed", name, ""])];
}

/** Its own changes; where there are none, the shortest way from one that has. */
function because({ causes, path }: Rebuild): string {
  return path.length === 1 ? causeSummary(causes) : path.join(" > ");
}

function table(rows: readonly (readonly string[])[]): string {
  const lines = [["level", "", "image", "because of"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
