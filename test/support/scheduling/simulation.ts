import {
  BuilderLostError,
  type Job,
  type ScheduledBuilder,
  Scheduler,
  type SchedulerEvent,
} from "../../../buildkit/scheduler/scheduler.ts";
import type { SchedulingRules } from "../../../buildkit/scheduler/scheduling-rules.ts";
import { sortTopologically } from "../../../distro/graph.ts";
import { remainingSeconds } from "../../../distro/plan/build-durations.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** An image of the simulated graph. */
export type SimulatedImage = {
  readonly dependencies: readonly string[];
  readonly platforms: readonly string[];
  /** Seconds that it really takes with nothing in a cache; of these, those of steps that it shares with others. */
  readonly seconds: number;
  readonly shared?: { readonly name: string; readonly seconds: number } | undefined;
  /** Seconds that it is expected to take; `seconds` where not given. */
  readonly expected?: number;
  readonly memory?: number;
  /** Bytes of the image, which a builder needs for what is built from it; none where not given. */
  readonly bytes?: number;
};

export type Graph = ReadonlyMap<string, SimulatedImage>;

/** Who goes first: longest remaining path; first come; or as `make -j` walks its goals, depth first. */
export type Order = "longest" | "fifo" | "make";

export type SimulationOptions = {
  readonly order?: Order;
  /** How many images the engine has open at once (`--parallel`); without a limit where not given. */
  readonly parallel?: number;
  /** Seconds from the end of an image until the engine asks for those built from it. Default 0. */
  readonly engineSeconds?: number;
  /** Builders die after a random time of this mean, in seconds, and are back after `away`. */
  readonly spot?: { readonly meanLife: number; readonly away: number };
  readonly seed?: number;
  readonly rules?: Partial<SchedulingRules>;
  readonly onEvent?: (event: SchedulerEvent, now: number) => void;
};

export type Simulated = {
  /** Seconds from the first start to the last end. */
  readonly makespan: number;
  /** Jobs started; more than there are images where builders were lost. */
  readonly started: number;
  readonly losses: number;
};

/** Has the graph built by the very {@link Scheduler} that the provider has, on a clock of its own. The same arguments give the same result. */
export async function simulate(
  graph: Graph,
  builders: readonly ScheduledBuilder[],
  options: SimulationOptions = {},
): Promise<Simulated> {
  const clock = new VirtualClock();
  const fates = new Fates(builders, clock, options);
  const counts = { started: 0, losses: 0 };
  const schedule = new Scheduler(builders, {
    clock,
    // However often builders die, the day ends when all is built.
    maxAttempts: Number.POSITIVE_INFINITY,
    lostBuilderTimeout: 1e9,
    ...(options.rules ? { rules: options.rules } : {}),
    probe: async ({ name }) => {
      if (fates.isAway(name)) throw new Error("gone");
    },
    onEvent: (event) => {
      if (event.kind === "started") counts.started += 1;
      if (event.kind === "lost") counts.losses += 1;
      options.onEvent?.(event, clock.now());
    },
  });
  const jobs = jobsOf(graph, options.order ?? "longest");
  const caches = new Map(builders.map(({ name }) => [name, new Set<string>()]));
  const engine = new Engine(graph, clock, options, async (name) => {
    const image = graph.get(name);
    const job = jobs.get(name);
    if (!image || !job) return;
    const work = async (on: ScheduledBuilder, signal: AbortSignal) => {
      const cache = caches.get(on.name);
      const missing = job.inputs.reduce(
        (sum, { digest, bytes = 0 }) => sum + (cache?.has(digest) ? 0 : bytes),
        0,
      );
      const steps = image.shared && cache?.has(image.shared.name) ? image.shared.seconds : 0;
      const bandwidth = options.rules?.bytesPerSecond ?? 100e6;
      await fates.live(on.name, missing / bandwidth + image.seconds - steps, signal);
      for (const { digest } of job.inputs) cache?.add(digest);
      if (image.shared) cache?.add(image.shared.name);
    };
    await schedule.run(job, work, new AbortController().signal);
  });
  const makespan = await clock.until(engine.run());
  schedule.close();
  return { makespan, ...counts };
}

/** Pulumi's engine: asks for each image once those that it is built from are done, in that order, so many at once. */
class Engine {
  readonly #clock: VirtualClock;
  readonly #options: SimulationOptions;
  readonly #build: (name: string) => Promise<void>;
  readonly #ready: string[] = [];
  readonly #waitsFor: Map<string, number>;
  readonly #dependents = new Map<string, string[]>();
  readonly #done = Promise.withResolvers<number>();
  #taken = 0;
  #open = 0;
  #left: number;

  constructor(
    graph: Graph,
    clock: VirtualClock,
    options: SimulationOptions,
    build: (name: string) => Promise<void>,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.#build = build;
    this.#left = graph.size;
    this.#waitsFor = new Map([...graph].map(([name, { dependencies }]) => [name, dependencies.length]));
    for (const [name, { dependencies }] of graph) {
      for (const dependency of dependencies) {
        const known = this.#dependents.get(dependency);
        if (known) known.push(name);
        else this.#dependents.set(dependency, [name]);
      }
    }
  }

  /** Gives the time at which all is built. */
  run(): Promise<number> {
    for (const [name, left] of this.#waitsFor) if (left === 0) this.#ready.push(name);
    this.#admit();
    return this.#done.promise;
  }

  #admit(): void {
    while (this.#open < (this.#options.parallel ?? Number.POSITIVE_INFINITY)) {
      const name = this.#ready[this.#taken];
      if (name === undefined) return;
      this.#taken += 1;
      this.#open += 1;
      this.#build(name).then(() => this.#finished(name), this.#done.reject);
    }
  }

  #finished(name: string): void {
    this.#open -= 1;
    this.#left -= 1;
    if (this.#left === 0) this.#done.resolve(this.#clock.now());
    const reached = () => {
      for (const dependent of this.#dependents.get(name) ?? []) {
        const left = (this.#waitsFor.get(dependent) ?? 0) - 1;
        this.#waitsFor.set(dependent, left);
        if (left === 0) this.#ready.push(dependent);
      }
      this.#admit();
    };
    this.#admit();
    const delay = this.#options.engineSeconds ?? 0;
    if (delay > 0) this.#clock.after(delay, reached);
    else reached();
  }
}

/** When each builder dies and comes back. */
class Fates {
  readonly #clock: VirtualClock;
  readonly #away = new Set<string>();
  readonly #deaths = new Map<string, AbortController>();

  constructor(
    builders: readonly ScheduledBuilder[],
    clock: VirtualClock,
    { spot, seed = 1 }: SimulationOptions,
  ) {
    this.#clock = clock;
    for (const [index, { name }] of builders.entries()) {
      this.#deaths.set(name, new AbortController());
      if (spot) this.#live(name, spot, randomNumbers(seed * 1000 + index));
    }
  }

  isAway(name: string): boolean {
    return this.#away.has(name);
  }

  /** Takes so long on this builder, unless that dies in the meantime. */
  async live(name: string, seconds: number, signal: AbortSignal): Promise<void> {
    const death = this.#deaths.get(name)?.signal;
    await this.#clock.sleep(seconds, death ? AbortSignal.any([death, signal]) : signal);
  }

  #live(name: string, spot: { meanLife: number; away: number }, random: () => number): void {
    this.#clock.after(-Math.log(1 - random()) * spot.meanLife, () => {
      this.#away.add(name);
      this.#deaths.get(name)?.abort(new BuilderLostError("reclaimed"));
      this.#clock.after(spot.away, () => {
        this.#away.delete(name);
        this.#deaths.set(name, new AbortController());
        this.#live(name, spot, random);
      });
    });
  }
}

function jobsOf(graph: Graph, order: Order): Map<string, Job> {
  const expected = (name: string): number => {
    const image = graph.get(name);
    return image?.expected ?? image?.seconds ?? 0;
  };
  const isLongest = order === "longest";
  const urgency = isLongest
    ? remainingSeconds(graph, expected)
    : order === "make"
      ? makeOrder(graph)
      : new Map();
  return new Map(
    [...graph].map(([name, { dependencies, platforms, shared, memory }]) => {
      const inputs = dependencies.map((digest) => ({ digest, bytes: graph.get(digest)?.bytes ?? 0 }));
      const known = isLongest ? { seconds: expected(name), shared } : {};
      const job = { key: name, image: name, platforms, remaining: urgency.get(name) ?? 0, inputs, memory };
      return [name, { ...job, ...known }];
    }),
  );
}

/** Higher for what `make` comes to sooner: it walks its goals in their order, each after its prerequisites. */
function makeOrder(graph: Graph): Map<string, number> {
  const seen = new Set<string>();
  const walked: string[] = [];
  const walk = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const dependency of graph.get(name)?.dependencies ?? []) walk(dependency);
    walked.push(name);
  };
  for (const name of graph.keys()) walk(name);
  // Far apart, so that no time spent waiting changes the order.
  return new Map(walked.map((name, index) => [name, (walked.length - index) * 1e7]));
}

/** What no schedule can go below, in seconds. */
export type Bounds = {
  readonly criticalPath: number;
  /** All work, spread evenly over the slots; shared steps counted once. */
  readonly evenly: number;
  /** The greater of the two. */
  readonly lower: number;
  /**
   * A sharper one: for any two times, what cannot begin before the first, and has a path longer than the second after it, has to be done
   * between them. It sees that a graph with one long chain at its root, as a bootstrap is, leaves most builders idle for that long.
   */
  readonly sharper: number;
  /** What no list schedule exceeds on equal builders (Graham 1969), where nothing is to be sent. */
  readonly graham: number;
};

/** The bounds of a graph over a number of slots. */
export function boundsOf(graph: Graph, slots: number): Bounds {
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

/** The graph in which steps that several images share are nodes of their own, which need what all of those images need. */
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

/** The earliest start of each. */
function headsOf(graph: ReadonlyMap<string, Timed>): Map<string, number> {
  const heads = new Map<string, number>();
  for (const [name, { dependencies }] of sortTopologically(graph)) {
    const ends = dependencies.map((each) => (heads.get(each) ?? 0) + (graph.get(each)?.seconds ?? 0));
    heads.set(name, Math.max(0, ...ends));
  }
  return heads;
}

/** Tried at up to 100 heads and tails: any choice of them gives a bound. */
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

/** Numbers from 0 to below 1 that look random, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
