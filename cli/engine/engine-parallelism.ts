import { availableParallelism } from "node:os";
import { plannedSlots } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";

/**
 * How many resources the engine has in hand for each build slot. It hands out images first come,
 * first served, and the schedule can put first only what it has been handed: with fewer, long
 * chains begin late (bench/README.md).
 */
const imagesForEachSlot = 8;
/** What the engine takes by itself, for each core. */
const usualForEachCore = 4;

/**
 * The engine's environment for `up`: as many resources at once as the configured fleet needs, and
 * no fewer than the engine's own default. Empty where the user has said how many; a `--parallel`
 * among the engine's arguments is stronger than either.
 */
export function parallelismEnvironment(config: StagexConfig, given: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (given.PULUMI_PARALLEL !== undefined) return {};
  const forSlots = imagesForEachSlot * plannedSlots(config);
  return { PULUMI_PARALLEL: String(Math.max(forSlots, usualForEachCore * availableParallelism())) };
}
