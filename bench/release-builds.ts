import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { acquireDaemon, type DaemonUse } from "../buildkit/daemon/daemon.ts";
import { parallelismEnvironment } from "../cli/engine/engine-parallelism.ts";
import { localSlots } from "../config/fleet-plan.ts";
import { parseConfig } from "../config/schema.ts";
import { checkpointEnvironment } from "../pulumi-workarounds/checkpoints.ts";
import { buildBare, digestIn } from "./bare-builds.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { copyProgram } from "./copied-program.ts";
import { type PairResult, spread } from "./pairs.ts";
import { type ReleaseGraph, releaseGraph, releaseImage, writeReleaseTree } from "./release-tree.ts";

/** One way to build the whole tree with an empty cache. */
type Way = {
  readonly name: string;
  /** Builds the tree below a new folder. Returns the seconds and the layout of each image. */
  build(folder: string): Promise<{ readonly seconds: number; readonly out: string }>;
};

/**
 * Measures a build of a release's graph against bare `buildctl` with as many images at once. With
 * `STAGEX_TREE` and `BENCH_BUILDX` (the program) also against StageX's own make with buildx. The
 * images are tiny, so that the work around their builds shows. `BENCH_IMAGES` limits their number.
 */
export async function benchRelease(bench: BenchmarkRun): Promise<BenchmarkResult> {
  const graph = await releaseGraph(Number(process.env.BENCH_IMAGES ?? Number.POSITIVE_INFINITY));
  const tree = join(bench.scratch, "release-tree");
  await mkdir(tree);
  await writeReleaseTree(tree, graph);
  const [buildx, checkout] = [process.env.BENCH_BUILDX, bench.checkout];
  const yardsticks = [
    { way: bareWay(bench, tree, graph), target: 1.15 },
    ...(buildx && checkout ? [{ way: makeWay(bench, tree, graph, { buildx, checkout }), target: 1 }] : []),
  ];
  const ours = ourWay(bench, tree);
  const times = new Map<string, number[]>(
    [ours, ...yardsticks.map(({ way }) => way)].map((way) => [way.name, []]),
  );
  let known: string | undefined;
  for (let round = 0; round < bench.pairs; round++) {
    for (const way of [ours, ...yardsticks.map((yardstick) => yardstick.way)]) {
      const folder = join(bench.scratch, "release");
      await mkdir(folder);
      const { seconds, out } = await way.build(folder);
      const digests: string[] = [];
      for (const number of graph.keys()) digests.push(await digestIn(join(out, releaseImage(number))));
      known ??= digests.join();
      if (digests.join() !== known) throw new Error(`${way.name} gives other digests`);
      await rm(folder, { recursive: true });
      times.get(way.name)?.push(seconds);
      process.stderr.write(
        `release: round ${round + 1} of ${bench.pairs}: ${way.name} ${seconds.toFixed(1)} s\n`,
      );
    }
  }
  const first = times.get(ours.name) ?? [];
  const results = yardsticks.map(({ way, target }): PairResult => {
    const second = times.get(way.name) ?? [];
    return {
      name: `${graph.length} images of a release's graph built, against ${way.name}`,
      ...{ first: spread(first), second: spread(second), target },
      ratio: spread(first.map((seconds, round) => seconds / (second[round] ?? Number.NaN))),
    };
  });
  return { results, notes: [`release: ${graph.length} digests, the same in all ways and rounds`] };
}

/**
 * Builds as `npm start` does. A preview loads the program first, as earlier commands of a user do.
 */
function ourWay(bench: BenchmarkRun, tree: string): Way {
  const { pulumi, environment } = bench.engine;
  const config = parseConfig({ tree, verify: false });
  const env = { ...environment, ...checkpointEnvironment(config), ...parallelismEnvironment(config, {}) };
  return {
    name: "ours",
    async build(folder) {
      const project = join(folder, "project");
      await copyProgram(project);
      const run = (...args: string[]) =>
        execFileSync(pulumi, [...args, "--non-interactive", "--stack", "bench"], {
          ...{ cwd: project, env, maxBuffer: 1 << 28 },
          stdio: ["ignore", "pipe", "pipe"],
        });
      execFileSync(pulumi, ["stack", "init", "bench", "--non-interactive"], {
        cwd: project,
        env,
        stdio: "ignore",
      });
      run("config", "set", "stagex:tree", tree);
      run("config", "set", "stagex:verify", "false");
      run("preview", "--suppress-outputs");
      const started = performance.now();
      run("up", "--yes", "--skip-preview", "--suppress-outputs", "--suppress-progress");
      const seconds = (performance.now() - started) / 1000;
      return { seconds, out: join(project, "out") };
    },
  };
}

function bareWay(bench: BenchmarkRun, tree: string, graph: ReleaseGraph): Way {
  return {
    name: "bare buildctl",
    async build(folder) {
      const out = join(folder, "out");
      const seconds = await withDaemon(bench, folder, async ({ address }) => {
        await buildBare({ tree, graph, buildctl: bench.tools.buildctl, address, atOnce: localSlots(), out });
      });
      return { seconds, out };
    },
  };
}

/**
 * Builds with StageX's Makefile and rule generator from a checkout, in a copy of the tree, as it
 * writes there.
 */
function makeWay(
  bench: BenchmarkRun,
  tree: string,
  graph: ReleaseGraph,
  { buildx, checkout }: { buildx: string; checkout: string },
): Way {
  return {
    name: "StageX's make with buildx",
    async build(folder) {
      const copy = join(folder, "tree");
      await cp(tree, copy, { recursive: true });
      for (const part of ["Makefile", "src"])
        await cp(join(checkout, part), join(copy, part), { recursive: true });
      const env = { ...process.env, BUILDX_CONFIG: join(folder, "buildx"), BUILDX_BUILDER: "bench" };
      const seconds = await withDaemon(bench, folder, async ({ address }) => {
        execFileSync(buildx, ["create", "--name", "bench", "--driver", "remote", address], {
          env,
          stdio: "ignore",
        });
        const goals = [...graph.keys()].map((number) => `out/${releaseImage(number)}/index.json`);
        const args = [`-j${localSlots()}`, `BUILDER=${buildx}`, "PROGRESS=plain", ...goals];
        const make = spawn("make", args, { cwd: copy, env, stdio: "ignore" });
        const [code] = await once(make, "close");
        if (code !== 0) throw new Error(`StageX's make ended with ${code}`);
      });
      return { seconds, out: join(copy, "out") };
    },
  };
}

/** Times an action with a private daemon that has an empty cache, in seconds.*/
async function withDaemon(
  bench: BenchmarkRun,
  folder: string,
  work: (daemon: DaemonUse) => Promise<void>,
): Promise<number> {
  const daemon = await acquireDaemon({ ...bench.tools, root: join(folder, "buildkit") });
  try {
    const started = performance.now();
    await work(daemon);
    return (performance.now() - started) / 1000;
  } finally {
    await daemon.release();
  }
}
