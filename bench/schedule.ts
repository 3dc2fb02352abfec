import { BuilderState, type RunningJob } from "../buildkit/scheduler/builder-state.ts";
import { JobQueue } from "../buildkit/scheduler/job-queue.ts";
import { QueuedJob } from "../buildkit/scheduler/queued-job.ts";
import { Ledger } from "../distro/ledger/ledger.ts";
import { medianSeconds } from "../distro/plan/build-durations.ts";
import { readTree } from "../distro/tree/tree.ts";
import { randomNumbers } from "../test/support/scheduling/random-numbers.ts";
import { computeBounds } from "../test/support/scheduling/schedule-bounds.ts";
import { type Graph, type SimulationOptions, simulate } from "../test/support/scheduling/simulation.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import type { PairResult } from "./pairs.ts";
import { graphOfTree, syntheticGraph, withWrongEstimates } from "./simulated-graphs.ts";

const fleetSizes = [1, 2, 4, 8, 16, 32, 100];

/**
 * In seconds: the time of Pulumi's engine from the end of one resource to the start of the next
 * (see the part "engine").
 */
const engineSeconds = 0.1;

/**
 * Measures the simulated makespan against its lower bounds, first come, first served, and the order
 * of plain `make -j`, on the same builders. With `STAGEX_LEDGER=<a ledger>` build times are those
 * recorded; else those of the model.
 */
export async function benchSchedule(bench: BenchmarkRun): Promise<BenchmarkResult> {
  const notes: string[] = [];
  const results: PairResult[] = [];
  if (bench.checkout) {
    const ledger = process.env.STAGEX_LEDGER;
    const recorded = ledger ? medianSeconds((await new Ledger(ledger).readAll()).records) : new Map();
    const graph = graphOfTree(await readTree(bench.checkout), recorded);
    const eight = await makespans(graph, 8);
    results.push({
      name: `schedule: ${graph.size} images on 8 builders, against the lower bound`,
      first: once(eight.longest),
      second: once(eight.bounds.lower),
      ratio: once(eight.longest / eight.bounds.lower),
      target: 1.05,
    });
    notes.push(
      `schedule: ${graph.size} images of the tree, ${recorded.size} of them with a recorded duration`,
    );
    notes.push(...(await table(graph, fleetSizes)), "");
    notes.push("schedule: the same, each duration foretold wrongly (lognormal, sigma 0.7)");
    notes.push(...(await table(withWrongEstimates(graph, 0.7), [2, 4, 8, 16])), "");
    notes.push(...(await parallelNotes(graph)), ...(await spotNotes(graph)));
  } else notes.push("schedule: no StageX checkout given (STAGEX_TREE), so its graph is not scheduled");
  const large = syntheticGraph(10_000);
  notes.push("", "schedule: 10,000 synthetic images", ...(await table(large, [8, 32, 100])), "");
  for (const builders of [8, 100]) notes.push(decisionNote(large, builders));
  return { results, notes };
}

function fleet(builders: number) {
  return Array.from({ length: builders }, (_, index) => ({
    name: `builder-${index}`,
    platforms: ["linux/amd64", "linux/386"],
    slots: 1,
  }));
}

async function makespans(graph: Graph, builders: number) {
  const spans = { longest: 0, fifo: 0, make: 0 };
  for (const order of ["longest", "fifo", "make"] as const)
    spans[order] = (await simulate(graph, fleet(builders), { order, engineSeconds })).makespan;
  return { ...spans, bounds: computeBounds(graph, builders) };
}

async function table(graph: Graph, sizes: readonly number[]): Promise<string[]> {
  const rows = [
    [
      "builders",
      "critical path",
      "work / slots",
      "makespan",
      "x bound",
      "x sharper bound",
      "FIFO",
      "make -j",
    ],
  ];
  for (const size of sizes) {
    const { longest, fifo, make, bounds } = await makespans(graph, size);
    const against = (span: number, bound = bounds.lower) => (span / bound).toFixed(3);
    rows.push([
      ...[String(size), hours(bounds.criticalPath), hours(bounds.evenly), hours(longest)],
      ...[against(longest), against(longest, bounds.sharper), against(fifo), against(make)],
    ]);
    process.stderr.write(`schedule: ${graph.size} images on ${size} builders: ${against(longest)}\n`);
  }
  return rows.map((row) => row.map((cell) => cell.padStart(17)).join(""));
}

/** Measures a limit on the images that the engine has open. Under it the engine's order counts. */
async function parallelNotes(graph: Graph): Promise<string[]> {
  const { lower } = computeBounds(graph, 8);
  const notes: string[] = [];
  for (const parallel of [8, 16, 32, 64, 128, graph.size]) {
    const { makespan } = await simulate(graph, fleet(8), { parallel, engineSeconds });
    notes.push(`schedule: 8 builders, --parallel ${parallel}: ${(makespan / lower).toFixed(3)} x the bound`);
  }
  return notes;
}

async function spotNotes(graph: Graph): Promise<string[]> {
  const { lower } = computeBounds(graph, 8);
  const notes: string[] = [];
  for (const meanLife of [24, 12, 6]) {
    const ratios: number[] = [];
    let [losses, started] = [0, 0];
    for (let seed = 1; seed <= 5; seed++) {
      const spot: SimulationOptions = { spot: { meanLife: meanLife * 3600, away: 180 }, seed, engineSeconds };
      const found = await simulate(graph, fleet(8), spot);
      ratios.push(found.makespan / lower);
      losses += found.losses / 5;
      started += found.started / 5;
    }
    const [best = 0, , middle = 0, , worst = 0] = ratios.sort((a, b) => a - b);
    notes.push(
      `schedule: 8 builders, each reclaimed every ${meanLife} h and back after 3 min: ${middle.toFixed(3)} x the bound ` +
        `(${best.toFixed(3)} to ${worst.toFixed(3)}; ${losses.toFixed(1)} losses, ${(started - graph.size).toFixed(1)} builds done again)`,
    );
  }
  return notes;
}

/** Measures the time of one decision, with all images waiting and every builder busy but one. */
function decisionNote(graph: Graph, builders: number): string {
  const states = fleet(builders).map((builder) => new BuilderState(builder));
  const jobs = new JobQueue(states);
  const random = randomNumbers(builders);
  for (const [image, { dependencies, platforms, seconds }] of graph) {
    const inputs = dependencies.map((digest) => ({ digest, bytes: 64 * 2 ** 20 }));
    const job = { key: image, image, platforms, seconds, remaining: seconds * (1 + 20 * random()), inputs };
    jobs.add(new QueuedJob(job, 0));
  }
  const held: { builder: BuilderState; running: RunningJob }[] = [];
  const times: number[] = [];
  let now = 0;
  while (jobs.size > 0) {
    now += 10;
    const started = performance.now();
    const decision = jobs.next(now);
    times.push((performance.now() - started) * 1000);
    if ("builder" in decision) {
      const { builder, queued } = decision;
      const { job } = queued;
      const running = { job, since: now, expected: job.seconds, isExclusive: false, hadCompany: false };
      builder.occupy(running);
      held.push({ builder, running });
      if (held.length < builders) continue;
    }
    const [ended] = held.splice(Math.floor(random() * held.length), 1);
    ended?.builder.release(ended.running);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(1);
  return `schedule: a decision among ${graph.size} images for ${builders} builders takes ${at(0.5)} µs (99 of 100 under ${at(0.99)} µs)`;
}

function once(value: number) {
  return { min: value, median: value, max: value };
}

function hours(seconds: number): string {
  return `${(seconds / 3600).toFixed(2)} h`;
}
