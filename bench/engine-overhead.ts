import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../tools/places.ts";
import { copyProgram } from "./copied-program.ts";
import { furnish } from "./furnished-project.ts";
import { type PairResult, spread, type Timed, timePairs } from "./pairs.ts";
import { peakMemory } from "./peak-memory.ts";
import type { Bench } from "./run.ts";
import { writeSyntheticTree } from "./synthetic-tree.ts";

/** What our program and provider cost above the engine itself: the same graph, of packages here and of nothing there. */
export async function benchEngine(bench: Bench): Promise<{ results: PairResult[]; notes: string[] }> {
  const tree = bench.checkout ?? (await madeTree(bench));
  const ours = join(bench.scratch, "ours");
  const empty = join(bench.scratch, "empty");
  await copyProgram(ours);
  const graph = await furnish(ours, tree);
  await cp(join(projectRoot, "bench/empty"), empty, { recursive: true });
  await symlink(join(projectRoot, "node_modules"), join(empty, "node_modules"));
  await writeFile(join(empty, "package.json"), '{"type": "module"}');
  await writeFile(join(empty, "graph.json"), JSON.stringify(Object.fromEntries(graph)));

  const { pulumi, environment } = bench.engine;
  const run = (folder: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): string =>
    execFileSync(pulumi, [...args, "--non-interactive"], {
      cwd: folder,
      env: { ...environment, ...more },
      encoding: "utf8",
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "pipe"],
    });
  for (const folder of [ours, empty]) {
    await mkdir(join(folder, folder === ours ? ".stagex/pulumi" : "state"), { recursive: true });
    run(folder, ["stack", "init", "bench"]);
  }
  for (const setting of [
    ["stagex:tree", tree],
    ["stagex:verify", "false"],
  ])
    run(ours, ["config", "set", ...setting, "--stack", "bench"]);

  const timed = (folder: string, args: readonly string[], before?: () => Promise<void>): Timed => ({
    command: [pulumi, ...args, "--stack", "bench", "--non-interactive", "--suppress-progress"],
    cwd: folder,
    environment,
    ...(before ? { before } : {}),
  });
  const up = ["up", "--yes", "--skip-preview", "--suppress-outputs"];
  const gone = (folder: string) => async () => {
    run(folder, ["stack", "rm", "bench", "--force", "--yes", "--preserve-config"]);
    run(folder, ["stack", "init", "bench"]);
    await rm(join(folder, "out"), { recursive: true, force: true });
  };
  const results = [
    await timePairs(
      `preview of ${graph.size} images, against an empty provider`,
      timed(ours, ["preview"]),
      timed(empty, ["preview"]),
      bench.pairs,
      1.1,
    ),
    await timePairs(
      "first up, all in the ledger",
      timed(ours, up, gone(ours)),
      timed(empty, up, gone(empty)),
      bench.pairs,
      1.1,
    ),
    await timePairs(
      "the same without checkpoints, both",
      withoutCheckpoints(timed(ours, up, gone(ours))),
      withoutCheckpoints(timed(empty, up, gone(empty))),
      bench.pairs,
      1.1,
    ),
    await timePairs("up without a change", timed(ours, up), timed(empty, up), bench.pairs, 1.1),
  ];
  const memoryOf = async (folder: string) => {
    await gone(folder)();
    return await peakMemory(bench.scratch, (more) => run(folder, [...up, "--stack", "bench"], more));
  };
  const [memory, least] = [await memoryOf(ours), await memoryOf(empty)];
  for (const process of ["program", "provider"] as const) {
    results.push({
      name: `the ${process}'s peak memory, first up`,
      first: spread([memory[process]]),
      second: spread([least[process]]),
      ratio: spread([memory[process] / least[process]]),
      target: null,
      unit: "MiB",
    });
  }
  const stateFile = join(ours, ".stagex/pulumi/.pulumi/stacks/stagex/bench.json");
  const { size } = await stat(stateFile).catch(async () =>
    stat(
      join(
        ours,
        ".stagex/pulumi/.pulumi/stacks",
        (await readdir(join(ours, ".stagex/pulumi/.pulumi/stacks")))[0] ?? "",
      ),
    ),
  );
  return {
    results,
    notes: [`engine: the state is ${(size / graph.size / 1024).toFixed(1)} KiB an image (target <= 4)`],
  };
}

/** As `stagex start` runs the engine on a stack of packages alone. */
function withoutCheckpoints(timed: Timed): Timed {
  return { ...timed, environment: { ...timed.environment, PULUMI_SKIP_CHECKPOINTS: "true" } };
}

async function madeTree(bench: Bench): Promise<string> {
  const root = join(bench.scratch, "made-tree");
  await writeSyntheticTree(root, 500);
  return root;
}
