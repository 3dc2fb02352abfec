import type { BuilderState } from "./builder-state.ts";
import type { JobKind } from "./job-kind.ts";
import type { QueuedJob } from "./queued-job.ts";

/**
 * A builder for a job; or the time to ask again, where the job ends sooner if it waits for another
 * builder.
 */
export type Placement =
  | { readonly builder: BuilderState }
  | { readonly askAgain: number; readonly waitsFor: BuilderState | undefined };

/** Expectations are not so exact that it would be worth asking again sooner, in seconds. */
const shortestWait = 0.1;

/** A job does not wait for a builder that would save it fewer seconds than this. */
const leastSaving = 1;

const untilNextEvent = Number.POSITIVE_INFINITY;

/**
 * Places a job on the builder that has most of its inputs and shared steps in its cache, of equal
 * ones on the emptiest.
 * @param candidates the builders of the job's kind that have room for it
 */
export function placeJob<Queued extends QueuedJob>(
  queued: Queued,
  kind: JobKind<Queued>,
  candidates: readonly BuilderState[],
  bytesPerSecond: number,
  now: number,
): Placement {
  const isUntried = ({ name }: BuilderState) => !queued.lostOn.has(name);
  const untried = candidates.filter(isUntried);
  const isElsewhere = kind.builders.some((builder) => builder.lost === undefined && isUntried(builder));
  if (untried.length === 0 && isElsewhere) return { askAgain: untilNextEvent, waitsFor: undefined };
  const [first, ...others] = untried.length > 0 ? untried : candidates;
  if (first === undefined) return { askAgain: untilNextEvent, waitsFor: undefined };
  let [best, seconds] = [first, first.missingSeconds(queued.job, bytesPerSecond)];
  for (const other of others) {
    const there = other.missingSeconds(queued.job, bytesPerSecond);
    if (there < seconds || (there === seconds && other.usage < best.usage)) [best, seconds] = [other, there];
  }
  const better = worthWaitingFor(queued, kind, seconds, bytesPerSecond, now);
  if (better === undefined) return { builder: best };
  return { askAgain: now + Math.max(shortestWait, better.wait), waitsFor: better.builder };
}

/**
 * Finds the busy builder that is free soonest of those that have so much more in their caches that
 * the job ends sooner there.
 * @param here seconds that a free builder takes for what it has not in its cache
 */
function worthWaitingFor<Queued extends QueuedJob>(
  { job, lostOn }: Queued,
  kind: JobKind<Queued>,
  here: number,
  bytesPerSecond: number,
  now: number,
): { readonly builder: BuilderState; readonly wait: number } | undefined {
  if (here <= leastSaving) return undefined;
  let best: { readonly builder: BuilderState; readonly wait: number } | undefined;
  for (const builder of kind.builders) {
    const isNoChoice = builder.lost !== undefined || lostOn.has(builder.name);
    if (isNoChoice || builder.hasRoom(job, kind.isExclusive)) continue;
    const wait = builder.secondsToFree(now);
    if (wait + builder.missingSeconds(job, bytesPerSecond) < here && wait < (best?.wait ?? here))
      best = { builder, wait };
  }
  return best;
}
