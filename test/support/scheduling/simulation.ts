import {
  BuilderLostError,
  type Job,
  type ScheduledBuilder,
  Scheduler,
  type SchedulerEvent,
} from "../../../buildkit/scheduler/scheduler.ts";
import type { SchedulingRules } from "../../../buildkit/scheduler/scheduling-rules.ts";
import { remainingSeconds } from "../../../distro/plan/build-durations.ts";
import { randomNumbers } from "./random-numbers.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** An image of the simulated graph. */
export type SimulatedImage = {
  readonly dependencies: readonly string[];
  readonly platforms: readonly string[];
  /** Seconds of a build with an empty cache, those of `shared` steps included. */
  readonly seconds: number;
  readonly shared?: { readonly name: string; readonly seconds: number } | undefined;
  /** The expected seconds; `seconds` where not given. */
  readonly expected?: number;
  readonly memory?: number;
  /** Bytes of the image, which a builder needs for its dependents. Default 0. */
  readonly bytes?: number;
};

export type Graph = ReadonlyMap<string, SimulatedImage>;

/**
 * Order of the images: longest remaining path first; first come, first served; or depth first, as
 * `make -j` walks its goals.
 */
export type Order = "longest" | "fifo" | "make";

export type SimulationOptions = {
  readonly order?: Order;
  /** Images that the engine has open at once (`--parallel`). Default: no limit. */
  readonly parallel?: number;
  /** Seconds from the end of an image until the engine asks for its dependents. Default 0. */
  readonly engineSeconds?: number;
  /**
   * Builders are lost after a random time of this mean, in seconds, and are back after `away`
   * seconds.
   */
  readonly spot?: { readonly meanLife: number; readonly away: number };
  readonly seed?: number;
  readonly rules?: Partial<SchedulingRules>;
  readonly onEvent?: (event: SchedulerEvent, now: number) => void;
};

export type Simulated = {
  /** Seconds from the first start to the last end. */
  readonly makespan: number;
  /** Jobs started: more than there are images if builders were lost. */
  readonly started: number;
  readonly losses: number;
};

/**
 * Simulates the build of a graph with the provider's own {@link Scheduler} on a virtual clock. The
 * same arguments give the same result.
 */
export async function simulate(
  graph: Graph,
  builders: readonly ScheduledBuilder[],
  options: SimulationOptions = {},
): Promise<Simulated> {
  const clock = new VirtualClock();
  const builderLosses = new BuilderLosses(builders, clock, options);
  const counts = { started: 0, losses: 0 };
  const schedule = new Scheduler(builders, {
    clock,
    // The run ends when all is built, after any number of losses.
    maxAttempts: Number.POSITIVE_INFINITY,
    lostBuilderTimeout: 1e9,
    ...(options.rules ? { rules: options.rules } : {}),
    probe: async ({ name }) => {
      if (builderLosses.isAway(name)) throw new Error("gone");
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
      await builderLosses.live(on.name, missing / bandwidth + image.seconds - steps, signal);
      for (const { digest } of job.inputs) cache?.add(digest);
      if (image.shared) cache?.add(image.shared.name);
    };
    await schedule.run(job, work, new AbortController().signal);
  });
  const makespan = await clock.until(engine.run());
  schedule.close();
  return { makespan, ...counts };
}

/**
 * Simulates Pulumi's engine: asks for each image when its dependencies are done, in that order, up
 * to a number at once.
 */
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

  /** Returns the time at which all is built. */
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

/** Loses builders and brings them back. */
class BuilderLosses {
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

  /**
   * Waits for a build of so many seconds.
   * @throws BuilderLostError if the builder is lost in the meantime
   */
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

/**
 * Returns numbers that are higher for images that `make` builds sooner. It walks its goals in
 * order, each after its prerequisites.
 */
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
  // Far apart, so that waiting times do not change the order.
  return new Map(walked.map((name, index) => [name, (walked.length - index) * 1e7]));
}
