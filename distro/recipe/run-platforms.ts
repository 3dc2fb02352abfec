import type { BuildPlan } from "../build-plan.ts";
import { type Containerfile, type RunPlatform, reachableStages } from "./containerfile.ts";

/**
 * Finds the platforms whose programs a build of this target runs: those of its stages with a `RUN`.
 * A stage without one only gives files.
 * @param target a stage's name; null for the last one
 * @param platforms the platforms that the image is built for
 * @param onlyFor returns the only platforms that an image of the tree can be for; undefined where
 *   it can be for any
 * @returns sorted, each once; empty for an image that is made of files alone
 */
export function runPlatformsOf(
  containerfile: Containerfile,
  target: string | null,
  platforms: readonly string[],
  onlyFor: (image: string) => readonly string[] | undefined,
): RunPlatform[] {
  const run = new Set<RunPlatform>();
  for (const index of reachableStages(containerfile, target)) {
    const stage = containerfile.stages[index];
    if (stage === undefined || !containerfile.running.has(index)) continue;
    for (const platform of stage.platforms) run.add(platform);
    // BuildKit takes a base for another platform as one for the target's, and runs its programs
    // anyway.
    for (const image of stage.images) {
      const only = onlyFor(image) ?? platforms;
      if (!platforms.every((platform) => only.includes(platform))) for (const each of only) run.add(each);
    }
  }
  return [...run].sort();
}

/**
 * Returns the platforms whose programs a builder must run to build the image for these platforms.
 * The builder's own programs require nothing.
 */
export function platformsToRun({ runs }: Pick<BuildPlan, "runs">, platforms: readonly string[]): string[] {
  const wanted = runs.flatMap((run) => (run === "target" ? platforms : run === "builder" ? [] : [run]));
  return [...new Set(wanted)];
}
