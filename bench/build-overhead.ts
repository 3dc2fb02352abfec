import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withBuildContext } from "../buildkit/context-folder.ts";
import { acquireDaemon } from "../buildkit/daemon.ts";
import { linkDependencies } from "../buildkit/dependency-layout.ts";
import { connectionArguments, parseEndpoint } from "../buildkit/endpoint.ts";
import { buildArguments, solve } from "../buildkit/solve.ts";
import { targetsPy } from "../distro/generator/targets-py.ts";
import { Store } from "../oci/store.ts";
import { type PairResult, spread } from "./pairs.ts";
import type { Bench } from "./run.ts";

/** Mebibytes of data in the image that is built: enough that what we hash and store shows. */
const mebibytes = 64;

/** What a build costs above bare `buildctl` with the same arguments: context, layer check, store. */
export async function benchBuild(bench: Bench): Promise<{ results: PairResult[]; notes: string[] }> {
  const folder = join(bench.scratch, "package");
  await mkdir(folder, { recursive: true });
  const data = createHash("sha256").update("data").digest();
  await writeFile(join(folder, "data"), Buffer.alloc(mebibytes << 20, data));
  const daemon = await acquireDaemon({ ...bench.tools, root: join(bench.scratch, "buildkit") });
  const endpoint = parseEndpoint({ address: daemon.address, buildctl: bench.tools.buildctl });
  const store = await Store.open(join(bench.scratch, "store"));
  const sha256 = createHash("sha256")
    .update(Buffer.alloc(mebibytes << 20, data))
    .digest("hex");
  const ours: number[] = [];
  const bare: number[] = [];
  try {
    for (let pair = -1; pair < bench.pairs; pair++) {
      const times = [await buildOnce(pair * 2, true), await buildOnce(pair * 2 + 1, false)] as const;
      if (pair >= 0) {
        ours.push(times[0]);
        bare.push(times[1]);
      }
      process.stderr.write(
        `build: pair ${pair + 1} of ${bench.pairs}: ${times.map((time) => time.toFixed(2)).join(" s, ")} s\n`,
      );
    }
  } finally {
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
        target: 1.05,
      },
    ],
    notes: [`build: ${(over.median * 1000).toFixed(0)} ms more than bare buildctl (target: 5 % or 100 ms)`],
  };

  /** Builds something that was not built before, with all that we do around it or without. */
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
      assembly: targetsPy.assembly,
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
