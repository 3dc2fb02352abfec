import { sortTopologically } from "../../../distro/graph.ts";
import { remainingSeconds } from "../../../distro/plan/build-durations.ts";
import type { Graph } from "./simulation.ts";

/** Lower bounds of the makespan, and one upper bound, in seconds. */
export type ScheduleBounds = {
  readonly criticalPath: number;
  /** All work spread evenly over the slots. Shared steps count once. */
  readonly evenly: number;
  /** The greater of the two. */
  readonly lower: number;
  /**
   * A sharper lower bound. It considers any two times. Images that cannot begin before the first,
   * with a path longer than the second after them, are built in between. A long chain at the root,
   * such as a bootstrap, leaves most builders idle: this bound sees that.
   */
  readonly sharper: number;
  /** The upper bound of every list schedule on equal builders (Graham 1969), without transfers. */
  readonly graham: number;
};

/** Computes the bounds of a graph over a number of slots. */
export function computeBounds(graph: Graph, slots: number): ScheduleBounds {
  const apart = withSharedStepsApart(graph);
  const seconds = (name: string) => apart.get(name)?.seconds ?? 0;
  const remaining = remainingSeconds(apart, seconds);
  const heads = headsOf(apart);
  const criticalPath = Math.max(0, ...remaining.values());
  const evenly = [...apart.keys()].reduce((sum, name) => sum + seconds(name), 0) / slots;
  const spans = [...apart.keys()].map((name) => ({
    head: heads.get(name) ?? 0,
    seconds: seconds(name),
    tail: (remaining.get(name) ?? 0) - seconds(name),
  }));
  const lower = Math.max(criticalPath, evenly);
  return {
    ...{ criticalPath, evenly, lower },
    sharper: Math.max(lower, sharperBound(spans, slots)),
    graham: evenly + criticalPath * (1 - 1 / slots),
  };
}

type Timed = { readonly dependencies: readonly string[]; readonly seconds: number };

/**
 * Returns the graph with shared steps as nodes of their own, which need the dependencies common to
 * all of their images.
 */
function withSharedStepsApart(graph: Graph): Map<string, Timed> {
  const apart = new Map<string, Timed>();
  for (const [name, { dependencies, seconds, shared }] of graph) {
    if (!shared) apart.set(name, { dependencies, seconds });
    else {
      const steps = `steps of ${shared.name}`;
      const known = apart.get(steps);
      apart.set(steps, {
        dependencies: dependencies.filter((each) => known?.dependencies.includes(each) ?? true),
        seconds: Math.max(known?.seconds ?? 0, shared.seconds),
      });
      apart.set(name, { dependencies: [...dependencies, steps], seconds: seconds - shared.seconds });
    }
  }
  return apart;
}

/** Computes the earliest start of each image. */
function headsOf(graph: ReadonlyMap<string, Timed>): Map<string, number> {
  const heads = new Map<string, number>();
  for (const [name, { dependencies }] of sortTopologically(graph)) {
    const ends = dependencies.map((each) => (heads.get(each) ?? 0) + (graph.get(each)?.seconds ?? 0));
    heads.set(name, Math.max(0, ...ends));
  }
  return heads;
}

/** Takes the best bound of up to 100 heads and tails. Each choice of them gives a bound. */
function sharperBound(
  spans: readonly { head: number; seconds: number; tail: number }[],
  slots: number,
): number {
  const sample = (values: number[]) => {
    const sorted = [...new Set(values)].sort((a, b) => a - b);
    return sorted.filter((_, index) => index % Math.ceil(sorted.length / 100) === 0);
  };
  let best = 0;
  for (const head of sample(spans.map((span) => span.head))) {
    const later = spans.filter((span) => span.head >= head);
    for (const tail of sample(later.map((span) => span.tail))) {
      const work = later.reduce((sum, span) => sum + (span.tail >= tail ? span.seconds : 0), 0);
      best = Math.max(best, head + work / slots + tail);
    }
  }
  return best;
}
