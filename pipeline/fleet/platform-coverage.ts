import { matchPlatforms } from "../../buildkit/scheduler/platform-match.ts";
import { defaultBuilder, plannedBuilders } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { type Printable, printable, printableBlock } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import { runnablePlatforms } from "../../tools/platforms.ts";

type PlannedBy = Pick<StagexConfig, "buildkit" | "builders" | "localBuilders" | "aws" | "jobs">;

/** An image of which no builder runs all that its steps run, and what they run. */
export type UnbuildableImage = { readonly image: string; readonly runs: readonly string[] };

/**
 * Lists each builder's platforms, its own first, as the configuration tells them.
 * @returns undefined where one of them can be known from the builder alone
 */
export async function plannedPlatforms(config: PlannedBy): Promise<(readonly string[])[] | undefined> {
  const planned = plannedBuilders(config).map(({ platforms }) => platforms);
  const isPrivate = defaultBuilder(config.buildkit).address.startsWith("private:");
  const known = planned.length > 0 ? planned : [isPrivate ? ("here" as const) : undefined];
  const { native, emulated } = await runnablePlatforms();
  const listed = known.flatMap((platforms) =>
    platforms === undefined ? [] : [platforms === "here" ? [...native, ...emulated] : platforms],
  );
  return listed.length < known.length ? undefined : listed;
}

/** Finds the images that none of these builders can build. With several builders, each platform of an image is built on one of its own. */
export function findUnbuildableImages(
  plans: readonly Pick<BuildPlan, "name" | "platforms" | "runs">[],
  builders: readonly (readonly string[])[],
): UnbuildableImage[] {
  return plans.flatMap((plan) => {
    const parts = builders.length > 1 ? plan.platforms.map((platform) => [platform]) : [plan.platforms];
    const unfit = parts
      .map((platforms) => platformsToRun(plan, platforms))
      .filter((runs) => builders.every((builder) => matchPlatforms(builder, runs) === "none"));
    return unfit.map((runs) => ({ image: plan.name, runs }));
  });
}

/** How many images are named of each reason. */
const mostNamed = 5;

/** The images that no builder can build, in words: the first few of each reason. */
export function formatUnbuildableImages(unfit: readonly UnbuildableImage[]): Printable {
  const reasons = Map.groupBy(unfit, ({ runs }) => runs.join(" and "));
  const lines = [...reasons].map(([runs, images]) => {
    const names = images.map(({ image }) => image);
    return `  ${runs}${runs.includes(" and ") ? " on one builder" : ""}: ${shortenList(names, mostNamed)}`;
  });
  const names = new Set(unfit.map(({ image }) => image));
  return printableBlock(
    [
      `${names.size === 1 ? "1 image runs" : `${names.size} images run`} programs in steps that no builder of this stack runs, and can't be built here:`,
      ...lines,
      "Add such a builder (docs/fleets.md), or pull them (stagex:substitute).",
    ].join("\n"),
  );
}

/** The images that are for other platforms than those asked for, as their package.toml says, in words; undefined where there are none. */
export function formatOtherPlatforms(
  plans: readonly Pick<BuildPlan, "name" | "platforms">[],
  asked: readonly string[],
): Printable | undefined {
  const elsewhere = plans.filter(({ platforms }) => !asked.every((platform) => platforms.includes(platform)));
  if (elsewhere.length === 0) return undefined;
  const named = elsewhere.map(({ name, platforms }) => `${name} (${platforms.join(", ")})`);
  return printable`not for ${asked.join(", ")}, as their package.toml says, and built for their own platforms: ${shortenList(named, mostNamed)}`;
}
