import { availableParallelism } from "node:os";
import { plannedSlots } from "../../config/fleet-plan.ts";
import type { StagexConfig } from "../../config/schema.ts";

/**
 * Resources that the engine works on at once, for each build slot. The engine hands out images
 * first come, first served, and the scheduler chooses among those alone: with fewer, long chains
 * begin late (bench/README.md).
 */
const resourcesPerSlot = 8;
/** The engine's own default, for each core. */
const defaultPerCore = 4;

/**
 * Returns the engine's environment for `up`: as many resources at once as the configured fleet
 * needs, and at least the engine's own default. It is empty if the user has set a number.
 * `--parallel` among the engine's arguments overrides both.
 */
export function parallelismEnvironment(config: StagexConfig, given: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (given.PULUMI_PARALLEL !== undefined) return {};
  const forSlots = resourcesPerSlot * plannedSlots(config);
  return { PULUMI_PARALLEL: String(Math.max(forSlots, defaultPerCore * availableParallelism())) };
}
