import { availableParallelism } from "node:os";
import { Command } from "commander";
import { propertyPath } from "../../config/check-failures.ts";
import { levelsOf } from "../../distro/graph.ts";
import { type Forecast, type ForecastStatus, forecastRun } from "../../distro/plan/forecast.ts";
import { formatCauseLines, formatTimeLines } from "../../distro/plan/forecast-text.ts";
import type { CauseValue, Rebuild, RebuildCause } from "../../distro/plan/rebuild-plan.ts";
import {
  type Printable,
  printable,
  printableJson,
  printableLine,
  printableLines,
} from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { formatTable } from "../../lib/text/text-table.ts";
import { summarizeCauses } from "../output/format-causes.ts";
import { countOption } from "../output/option-argument.ts";
import {
  compareTrees,
  type TreeComparison,
  type TreeComparisonOptions,
  withComparisonOptions,
} from "../plan/compare-trees.ts";

type Options = TreeComparisonOptions & { json?: true; jobs: number };

/** A cause in the output of `stagex plan --json`. */
export type ShownCause = {
  /**
   * The input as the provider's diff names it: `containerfile`, `buildArgs.VERSION`,
   * `sources["a.tar.gz"]`.
   */
  readonly property: string;
  readonly before: CauseValue;
  readonly after: CauseValue;
};

/** The output of `stagex plan --json`; other programs read it. */
export type ShownPlan = {
  /** The older side's commit. */
  readonly base: string;
  /** The number of images of the newer side. */
  readonly images: number;
  readonly rebuild: readonly (Omit<Rebuild, "causes"> & { readonly causes: readonly ShownCause[] })[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
  /**
   * The time to build all images that may be built. Present where the ledger has a duration of any
   * of them.
   */
  readonly forecast?: {
    /** Build slots. */
    readonly jobs: number;
    /** Null where most have no duration recorded. */
    readonly seconds: number | null;
    /**
     * The number of images without a recorded duration. Each is assumed to take the median of the
     * others.
     */
    readonly guessed: number;
    readonly criticalPath: Forecast["criticalPath"];
  };
};

/** Creates `stagex plan`, which shows the images that a change of the tree rebuilds. */
export function planCommand(): Command {
  return withComparisonOptions(new Command("plan"))
    .description(
      "Tells which images a change of a tree rebuilds, and why. Needs git and no engine, and writes nothing.",
    )
    .option("--json", "one object: base, images, rebuild, added, removed, unchanged, forecast")
    .addOption(
      countOption(
        "--jobs <slots>",
        "how many images are built at once, for the predicted time",
        usualJobs,
        1,
      ),
    )
    .action(async (options: Options) => {
      const change = await compareTrees(options);
      const found = await forecastOf(change, options.jobs);
      print(options.json ? printableJson(shown(change, found, options)) : page(change, found, options));
    });
}

/** The default of a stack without `stagex:jobs` on this machine. */
const usualJobs = Math.max(2, Math.floor(availableParallelism() / 4));

/** Forecasts the images that are new, will or may be built, with the durations from the ledger. */
async function forecastOf({ after, plan, seconds }: TreeComparison, jobs: number): Promise<Forecast> {
  const verdicts = new Map<string, ForecastStatus>([
    ...plan.added.map((name) => [name, "will"] as const),
    ...plan.rebuild.map(({ name, certainty }) => [name, certainty] as const),
  ]);
  const recorded = verdicts.size === 0 ? new Map<string, number>() : await seconds();
  const images = [...after.images].map(([name, { dependencies }]) => {
    const verdict = verdicts.get(name) ?? "unchanged";
    return [name, { status: verdict, dependencies, seconds: recorded.get(name) ?? null }] as const;
  });
  return forecastRun(new Map(images), jobs);
}

function hasDurations({ counts, guessed }: Forecast): boolean {
  return guessed < counts.will + counts.may;
}

function shown({ base, after, plan }: TreeComparison, found: Forecast, { jobs }: Options): ShownPlan {
  return {
    base,
    images: after.images.size,
    rebuild: plan.rebuild.map(({ name, certainty, causes, path }) => ({
      ...{ name, certainty, causes: causes.map(shownCause), path },
    })),
    added: plan.added,
    removed: plan.removed,
    unchanged: plan.unchanged,
    ...(hasDurations(found)
      ? {
          forecast: {
            jobs,
            seconds: found.seconds,
            guessed: found.guessed,
            criticalPath: found.criticalPath,
          },
        }
      : {}),
  };
}

function shownCause({ input, entry, before, after }: RebuildCause): ShownCause {
  return { property: propertyPath(entry === undefined ? [input] : [input, entry]), before, after };
}

function page(change: TreeComparison, found: Forecast, { since, to, tree, jobs }: Options): Printable {
  const { base, after, plan } = change;
  const newer = to ?? `the working tree ${tree}`;
  const title = printable`What it takes from ${since} (${base.slice(0, 12)}) to ${newer}`;
  const rows = rowsOf(change);
  const count = (certainty: Rebuild["certainty"]) =>
    plan.rebuild.filter((rebuild) => rebuild.certainty === certainty).length;
  const changed = `${count("will")} will be rebuilt, ${count("may")} may be, ${plan.added.length} new`;
  const counts = printable`${after.images.size} images: ${changed}, ${plan.unchanged.length} unchanged; ${plan.removed.length} removed`;
  const notes = [...(hasDurations(found) ? formatTimeLines(found, jobs) : []), ...formatCauseLines(found)];
  const table =
    rows.length === 0 ? [] : [...formatTable([["level", "", "image", "because of"], ...rows]), printable``];
  return printableLines([title, printable``, ...table, counts, ...notes.map(printableLine)]);
}

/** Returns a row for each image that changes, sorted by level, with removed images last. */
function rowsOf({ after, plan }: TreeComparison): string[][] {
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

/**
 * Returns the changes of the image's own inputs or, without any, the shortest path from an image
 * that has some.
 */
function because({ causes, path }: Rebuild): string {
  return path.length === 1 ? summarizeCauses(causes) : path.join(" > ");
}
