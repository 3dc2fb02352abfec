import { execFileSync, spawn } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withBuildContext } from "../buildkit/client/context-folder.ts";
import { linkDependencies } from "../buildkit/client/dependency-layout.ts";
import { connectionArguments, parseEndpoint } from "../buildkit/client/endpoint.ts";
import { buildArguments, solve } from "../buildkit/client/solve.ts";
import { acquireDaemon } from "../buildkit/daemon/daemon.ts";
import { targetsPy } from "../distro/generator/targets-py.ts";
import { Store } from "../oci/store/store.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { spread } from "./pairs.ts";

/**
 * Measures a build against bare `buildctl` with the same arguments: context, layer check, store.
 * The data is large enough for hashing and storing to show.
 */
export async function benchBuild(bench: BenchmarkRun): Promise<BenchmarkResult> {
  return await benchLayer(bench, 64, bench.pairs, 1.05);
}

/** Measures the same with one large incompressible layer. `BENCH_MEBIBYTES` sets its size. */
export async function benchLargeBuild(bench: BenchmarkRun): Promise<BenchmarkResult> {
  return await benchLayer(bench, Number(process.env.BENCH_MEBIBYTES ?? 2048), Math.min(2, bench.pairs), 1.1);
}

async function benchLayer(
  bench: BenchmarkRun,
  mebibytes: number,
  pairs: number,
  target: number,
): Promise<BenchmarkResult> {
  const folder = join(bench.scratch, `package-${mebibytes}`);
  await mkdir(folder, { recursive: true });
  const sha256 = await writeNoise(join(folder, "data"), mebibytes);
  const daemon = await acquireDaemon({ ...bench.tools, root: join(bench.scratch, "buildkit") });
  const endpoint = parseEndpoint({ address: daemon.address, buildctl: bench.tools.buildctl });
  const store = await Store.open(join(bench.scratch, "store"));
  const ours: number[] = [];
  const bare: number[] = [];
  let peak = 0;
  const before = process.memoryUsage.rss();
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss() - before);
  }, 50);
  try {
    for (let pair = -1; pair < pairs; pair++) {
      const times = [await buildOnce(pair * 2, true), await buildOnce(pair * 2 + 1, false)] as const;
      if (pair >= 0) {
        ours.push(times[0]);
        bare.push(times[1]);
      }
      process.stderr.write(
        `build: pair ${pair + 1} of ${pairs}: ${times.map((time) => time.toFixed(2)).join(" s, ")} s\n`,
      );
    }
  } finally {
    clearInterval(sampling);
    await daemon.release();
  }
  const over = spread(ours.map((time, index) => time - (bare[index] ?? 0)));
  return {
    results: [
      {
        name: `a build of ${mebibytes} MiB, against bare buildctl`,
        first: spread(ours),
        second: spread(bare),
        ratio: spread(ours.map((time, index) => time / (bare[index] ?? 1))),
        target,
      },
    ],
    notes: [
      `build: of ${mebibytes} MiB ${(over.median * 1000).toFixed(0)} ms more than bare buildctl, and at most ${(peak / 2 ** 20).toFixed(0)} MiB of memory more than before`,
    ],
  };

  /** Builds an image with an empty cache, with the pipeline around it or without. */
  async function buildOnce(number: number, whole: boolean): Promise<number> {
    const recipe = `FROM scratch\nARG NUMBER=${number}\nCOPY data /data-${number}\n`;
    await writeFile(join(folder, "Containerfile"), recipe);
    const scratch = join(bench.scratch, "work");
    const destination = join(bench.scratch, "layout");
    const request = {
      folder,
      files: [{ path: "data", mode: "100644", sha256 }],
      recipe: {
        path: join(folder, "Containerfile"),
        sha256: createHash("sha256").update(recipe).digest("hex"),
      },
      sources: [],
      scratch,
    } as const;
    const common = {
      endpoint,
      image: "core-data",
      version: "1",
      assembly: targetsPy.commonOptions,
      target: null,
      platforms: ["linux/amd64"],
      buildArgs: {},
      dependencies: {},
      store: store.root,
      destination,
      scratch,
    };
    let time = 0;
    if (whole) {
      const started = performance.now();
      await withBuildContext(request, async (context) => {
        const { layout, layerCheck } = await solve(
          { ...common, context },
          { log: join(bench.scratch, "log") },
        );
        await store.adopt(layout, { layerCheck });
      });
      time = performance.now() - started;
    } else {
      await withBuildContext(request, async (context) => {
        const layout = linkDependencies(store.root, {}, join(bench.scratch, "no-dependencies"));
        await mkdir(destination);
        const args = [...connectionArguments(endpoint), ...buildArguments({ ...common, context }, layout)];
        const started = performance.now();
        const child = spawn(bench.tools.buildctl, args, { stdio: ["ignore", "ignore", "ignore"] });
        const [code] = await once(child, "close");
        time = performance.now() - started;
        if (code !== 0) throw new Error(`the bare buildctl ended with ${code}`);
      });
    }
    execFileSync("sync");
    await rm(destination, { recursive: true, force: true });
    return time / 1000;
  }
}

/** Writes a file of reproducible pseudo-random bytes and returns its sha256. */
async function writeNoise(path: string, mebibytes: number): Promise<string> {
  const noise = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16));
  const hash = createHash("sha256");
  const zeros = Buffer.alloc(1 << 20);
  const file = await open(path, "w");
  try {
    for (let written = 0; written < mebibytes; written++) {
      const bytes = noise.update(zeros);
      hash.update(bytes);
      await file.write(bytes);
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}
