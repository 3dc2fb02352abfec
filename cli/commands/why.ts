import { Command } from "commander";
import { ImageNameError, resolveImageName } from "../../distro/image-names.ts";
import type { Rebuild } from "../../distro/plan/rebuild-plan.ts";
import { type Printable, printable, printableLines } from "../../lib/text/printable.ts";
import { print } from "../../lib/text/terminal.ts";
import { CommandError } from "../output/exit-code.ts";
import { formatCauses } from "../output/format-causes.ts";
import {
  compareTrees,
  type TreeComparison,
  type TreeComparisonOptions,
  withComparisonOptions,
} from "../plan/compare-trees.ts";

/** Creates `stagex why`, which explains why one image is rebuilt or not. */
export function whyCommand(): Command {
  return withComparisonOptions(new Command("why"))
    .description("Tells in plain words why a change of a tree rebuilds an image, or does not.")
    .argument("<name>", "an image: core-busybox, or busybox")
    .action(async (name: string, options: TreeComparisonOptions) => {
      const change = await compareTrees(options);
      print(printableLines(explain(change, imageOf(change, name), options)));
    });
}

/** Finds the image that a name means, on either side. */
function imageOf({ before, after }: TreeComparison, name: string): string {
  try {
    return resolveImageName(new Map([...after.images, ...before.images]), name);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    throw new CommandError(`${error.message} (of the images on either side)`);
  }
}

function explain(change: TreeComparison, name: string, { since }: TreeComparisonOptions): Printable[] {
  const { plan } = change;
  const rebuild = plan.rebuild.find((candidate) => candidate.name === name);
  if (rebuild !== undefined) return explainRebuild(change, rebuild, since);
  if (plan.added.includes(name)) return [printable`${name} is new: ${since} does not have it.`];
  if (plan.removed.includes(name)) return [printable`${name} is removed: only ${since} has it.`];
  return explainUnchanged(change, name, since);
}

function explainRebuild(
  { plan }: TreeComparison,
  { name, certainty, causes, path }: Rebuild,
  since: string,
): Printable[] {
  const [origin = name] = path;
  if (origin === name) {
    return [
      printable`${name} will be rebuilt, for its own inputs are others than at ${since}:`,
      ...formatCauses(causes).map(indented),
    ];
  }
  const first = plan.rebuild.find((candidate) => candidate.name === origin);
  const because =
    certainty === "will"
      ? printable`${name} will be rebuilt. Nothing of its own changed since ${since}, but the ledger knows other digests of what it is built from:`
      : printable`${name} may be rebuilt. Nothing of its own changed since ${since}, but what it is built from is built again:`;
  const end =
    certainty === "will"
      ? []
      : [
          printable`Should all of these come out with the digests they had, it is left as it is; nobody knows before they are built.`,
        ];
  return [
    because,
    ...formatCauses(causes).map(indented),
    printable`It begins with ${origin}:`,
    ...formatCauses(first?.causes ?? []).map(indented),
    printable`and comes to it this way, each built from the one before:`,
    indented(path.join(" > ")),
    ...end,
  ];
}

function explainUnchanged({ after, plan }: TreeComparison, name: string, since: string): Printable[] {
  const rebuilt = new Set(plan.rebuild.map((rebuild) => rebuild.name));
  const same = (after.images.get(name)?.dependencies ?? []).filter((dependency) => rebuilt.has(dependency));
  if (same.length === 0) {
    return [
      printable`${name} is not rebuilt: neither its own inputs nor what it is built from changed since ${since}.`,
    ];
  }
  return [
    printable`${name} is not rebuilt: its own inputs did not change since ${since}, and what it is built from is built again, but the ledger knows that it comes out the same:`,
    ...same.map(indented),
  ];
}

function indented(line: string): Printable {
  return printable`  ${line}`;
}
