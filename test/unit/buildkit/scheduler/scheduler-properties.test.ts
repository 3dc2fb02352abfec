import { array, assert, asyncProperty, boolean, constantFrom, integer, option, record } from "fast-check";
import { expect, test } from "vitest";
import type { ScheduledBuilder, SchedulerEvent } from "../../../../buildkit/scheduler/scheduler.ts";
import { computeBounds } from "../../../support/scheduling/schedule-bounds.ts";
import { type Graph, type SimulatedImage, simulate } from "../../../support/scheduling/simulation.ts";

const amd64 = ["linux/amd64", "linux/386"];
const gibibyte = 2 ** 30;

/** A graph of up to 30 images; each is built from some of those before it. */
function graphs(platforms: readonly string[]) {
  const image = record({
    seconds: integer({ min: 1, max: 500 }),
    platform: constantFrom(...platforms),
    memory: option(integer({ min: 1, max: 16 }), { nil: undefined }),
    back: array(integer({ min: 1, max: 10 }), { maxLength: 3 }),
    family: option(constantFrom("llvm", "php"), { nil: undefined, freq: 5 }),
  });
  return array(image, { minLength: 1, maxLength: 30 }).map((images): Graph => {
    const named = images.map(
      ({ seconds: own, platform, memory, back, family }, index): [string, SimulatedImage] => {
        const dependencies = [...new Set(back)]
          .filter((far) => far <= index)
          .map((far) => `image-${index - far}`);
        const shared = family && { name: family, seconds: family === "llvm" ? 300 : 40 };
        const seconds = own + (shared?.seconds ?? 0);
        const bytes = memory === undefined ? {} : { memory: memory * gibibyte };
        return [`image-${index}`, { seconds, dependencies, platforms: [platform], shared, ...bytes }];
      },
    );
    return new Map(named);
  });
}

const builders = array(
  record({ slots: integer({ min: 1, max: 3 }), memory: integer({ min: 16, max: 32 }), isArm: boolean() }),
  { minLength: 1, maxLength: 5 },
).map((machines): ScheduledBuilder[] => [
  ...machines.map(({ slots, memory, isArm }, index) => ({
    name: `builder-${index}`,
    platforms: isArm ? ["linux/arm64", "linux/amd64", "linux/386"] : amd64,
    slots,
    memory: memory * gibibyte,
  })),
  // One of each, so that every image can be built.
  { name: "intel", platforms: amd64, slots: 1, memory: 16 * gibibyte },
  { name: "arm", platforms: ["linux/arm64"], slots: 1, memory: 16 * gibibyte },
]);

const spots = option(
  record({ meanLife: integer({ min: 200, max: 5000 }), away: integer({ min: 1, max: 300 }) }),
  {
    nil: undefined,
  },
);

/** Checks the events of a scheduler, and throws at the first violation. */
class EventChecker {
  readonly ended: string[] = [];
  readonly lost: string[] = [];
  readonly #fleet: readonly ScheduledBuilder[];
  readonly #running = new Map<string, string>();
  readonly #memory = new Map<string, number>();
  /** By builder, the shared steps that it has done since its loss: they take no memory again. */
  readonly #steps = new Map<string, Set<string>>();

  constructor(fleet: readonly ScheduledBuilder[]) {
    this.#fleet = fleet;
  }

  check(event: SchedulerEvent): void {
    if (event.kind === "lost") {
      this.lost.push(event.builder);
      this.#steps.delete(event.builder);
    }
    if (event.kind === "ended") {
      const steps = this.#steps.get(event.builder) ?? new Set();
      this.#steps.set(event.builder, steps.add(event.job.shared?.name ?? ""));
      this.#running.delete(event.job.key);
      this.ended.push(event.job.key);
    }
    if (event.kind !== "started") return;
    const { job, builder } = event;
    expect(this.#running.has(job.key), "a key that is being built already").toBe(false);
    this.#running.set(job.key, builder);
    const isCached = job.shared !== undefined && this.#steps.get(builder)?.has(job.shared.name) === true;
    this.#memory.set(job.key, isCached ? 0 : (job.memory ?? 0));
    const machine = this.#fleet.find(({ name }) => name === builder);
    const here = [...this.#running].filter(([, where]) => where === builder).map(([key]) => key);
    const memory = here.reduce((sum, key) => sum + (this.#memory.get(key) ?? 0), 0);
    expect(here.length).toBeLessThanOrEqual(machine?.slots ?? 0);
    expect(memory).toBeLessThanOrEqual(machine?.memory ?? 0);
    const own = machine?.platforms[0];
    expect(job.platforms).toEqual(
      own === "linux/arm64" ? ["linux/arm64"] : [expect.stringMatching(/amd64|386/)],
    );
  }
}

test("keeps slots, memory and architecture, and builds every image, whichever builders die", async () => {
  const platforms = ["linux/amd64", "linux/386", "linux/arm64"];
  const limits = option(integer({ min: 1, max: 10 }), { nil: undefined });
  await assert(
    asyncProperty(graphs(platforms), builders, spots, limits, async (graph, fleet, spot, parallel) => {
      const checker = new EventChecker(fleet);
      const { losses } = await simulate(graph, fleet, {
        ...(spot ? { spot } : {}),
        ...(parallel ? { parallel } : {}),
        onEvent: (event) => checker.check(event),
      });
      expect(new Set(checker.ended)).toEqual(new Set(graph.keys()));
      if (losses === 0) expect(checker.ended.length).toBe(graph.size);
      expect(checker.lost.length).toBe(losses);
    }),
    { numRuns: 150 },
  );
});

test("stays within Graham's bound and above the lower bounds on equal builders", async () => {
  const size = integer({ min: 1, max: 8 });
  await assert(
    asyncProperty(graphs(["linux/amd64"]), size, async (graph, machines) => {
      const plain = new Map(
        [...graph].map(([name, { memory: _memory, shared: _shared, ...image }]) => [name, image]),
      );
      const fleet = Array.from({ length: machines }, (_, index) => ({
        name: `builder-${index}`,
        platforms: amd64,
        slots: 1,
      }));
      const bounds = computeBounds(plain, machines);
      for (const order of ["longest", "fifo", "make"] as const) {
        const { makespan } = await simulate(plain, fleet, { order });
        expect(makespan).toBeLessThanOrEqual(bounds.graham + 1e-6);
        expect(makespan).toBeGreaterThanOrEqual(bounds.sharper - 1e-6);
      }
      expect(bounds.sharper).toBeGreaterThanOrEqual(bounds.lower);
    }),
    { numRuns: 150 },
  );
});

test("stays above the lower bounds where images share steps", async () => {
  await assert(
    asyncProperty(graphs(["linux/amd64"]), builders, async (graph, fleet) => {
      const intel = fleet.filter(({ platforms }) => platforms === amd64);
      const slots = intel.reduce((sum, machine) => sum + machine.slots, 0);
      const { makespan } = await simulate(graph, intel);
      expect(makespan).toBeGreaterThanOrEqual(computeBounds(graph, slots).sharper - 1e-6);
    }),
    { numRuns: 100 },
  );
});

test("gives the same schedule for the same graph, fleet and deaths", async () => {
  await assert(
    asyncProperty(graphs(["linux/amd64"]), builders, spots, async (graph, fleet, spot) => {
      const logs = [[], []] as string[][];
      for (const log of logs) {
        await simulate(graph, fleet, {
          ...(spot ? { spot } : {}),
          onEvent: (event, now) => log.push(JSON.stringify([now, event])),
        });
      }
      expect(logs[0]).toEqual(logs[1]);
    }),
    { numRuns: 50 },
  );
});
