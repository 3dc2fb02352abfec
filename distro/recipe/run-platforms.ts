import type { BuildPlan } from "../build-plan.ts";
import { type Containerfile, type RunPlatform, reachableStages } from "./containerfile.ts";

/**
 * Finds the platforms whose programs a build of this target runs: those of the stages that it is made of and that have a `RUN`. A stage that
 * files are only copied from runs nothing.
 * @param target a stage's name; null for the last one
 * @param platforms what the image is for
 * @param onlyFor what an image of the tree is for, whatever is asked for; undefined for those that are for anything
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
    // BuildKit takes a base that is for another platform for one of the target's, and runs its programs all the same.
    for (const image of stage.images) {
      const only = onlyFor(image) ?? platforms;
      if (!platforms.every((platform) => only.includes(platform))) for (const each of only) run.add(each);
    }
  }
  return [...run].sort();
}

/**
 * Names the platforms whose programs a builder must run to build the image for these platforms. What the builder itself is asks for
 * nothing.
 */
export function platformsToRun({ runs }: Pick<BuildPlan, "runs">, platforms: readonly string[]): string[] {
  const wanted = runs.flatMap((run) => (run === "target" ? platforms : run === "builder" ? [] : [run]));
  return [...new Set(wanted)];
}
