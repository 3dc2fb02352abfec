import { matchPlatforms } from "../../buildkit/scheduler/platform-match.ts";
import type { Job, ScheduledBuilder } from "../../buildkit/scheduler/scheduler.ts";
import { defaultBuilder, plannedBuilders } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { type Printable, printable, printableBlock } from "../../lib/text/printable.ts";
import { shortenList } from "../../lib/text/shortened-list.ts";
import { runnablePlatforms } from "../../tools/platforms.ts";

type PlannedBy = Pick<StagexConfig, "buildkit" | "builders" | "localBuilders" | "aws" | "jobs">;

/** An image that no builder can build, and the platforms that its steps run programs of. */
export type UnbuildableImage = { readonly image: string; readonly runs: readonly string[] };

/**
 * Lists the platforms of each configured builder, its own first.
 * @returns undefined where only a builder itself can tell its platforms
 */
export async function plannedPlatforms(config: PlannedBy): Promise<(readonly string[])[] | undefined> {
  const planned = plannedBuilders(config).map(({ platforms }) => platforms);
  const isPrivate = defaultBuilder(config.buildkit).address.startsWith("private:");
  const known = planned.length > 0 ? planned : [isPrivate ? ("here" as const) : undefined];
  if (known.includes(undefined)) return undefined;
  const { native, emulated } = await runnablePlatforms();
  return known.flatMap((platforms) =>
    platforms === undefined ? [] : [platforms === "here" ? [...native, ...emulated] : platforms],
  );
}

/**
 * Finds the images that none of these builders can build. Of several builders each builds one
 * platform of an image.
 */
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

/**
 * Leaves out the job's platforms that no builder runs. The step may only run a cross compiler, and
 * if not, BuildKit fails. linux/386 stays, so that no emulator is tried for it.
 */
export function offeredPlatforms(
  { platforms, allowedBuilders }: Job,
  builders: readonly ScheduledBuilder[],
): readonly string[] {
  if (platforms.length === 0) return platforms;
  const allowed = builders.filter(({ name }) => allowedBuilders?.includes(name) ?? true);
  const run = platforms.filter(
    (platform) =>
      platform === "linux/386" ||
      allowed.some((builder) => matchPlatforms(builder.platforms, [platform]) !== "none"),
  );
  return run.length > 0 ? run : (allowed[0]?.platforms.slice(0, 1) ?? platforms);
}

/** Number of images that are named for each reason. */
const maxNames = 5;

/** Formats the images that no builder can build: the first few for each reason. */
export function formatUnbuildableImages(unfit: readonly UnbuildableImage[]): Printable {
  const reasons = Map.groupBy(unfit, ({ runs }) => runs.join(" and "));
  const lines = [...reasons].map(([runs, images]) => {
    const names = images.map(({ image }) => image);
    return `  ${runs}${runs.includes(" and ") ? " on one builder" : ""}: ${shortenList(names, maxNames)}`;
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

/**
 * Formats the images whose package.toml names other platforms than those asked for; undefined where
 * there are none.
 */
export function formatOtherPlatforms(
  plans: readonly Pick<BuildPlan, "name" | "platforms">[],
  asked: readonly string[],
): Printable | undefined {
  const elsewhere = plans.filter(({ platforms }) => !asked.every((platform) => platforms.includes(platform)));
  if (elsewhere.length === 0) return undefined;
  const named = elsewhere.map(({ name, platforms }) => `${name} (${platforms.join(", ")})`);
  return printable`not for ${asked.join(", ")}, as their package.toml says, and built for their own platforms: ${shortenList(named, maxNames)}`;
}
