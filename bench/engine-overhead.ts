import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../lib/paths.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { copyProgram } from "./copied-program.ts";
import { type PairResult, spread, type Timed, timeAgainst } from "./pairs.ts";
import { peakMemory } from "./peak-memory.ts";
import { prebuildProject } from "./prebuilt-project.ts";
import { writeSyntheticTree } from "./synthetic-tree.ts";

/**
 * Measures our provider against an empty one under the same program, so with the same resources and
 * inputs. Both are also measured against the least there is: a graph of the same edges whose
 * resources have no other properties.
 */
export async function benchEngine(bench: BenchmarkRun): Promise<BenchmarkResult> {
  const tree = bench.checkout ? await packagesOf(bench.checkout, bench) : await madeTree(bench);
  const ours = join(bench.scratch, "ours");
  const idle = join(bench.scratch, "idle");
  const bare = join(bench.scratch, "bare");
  await copyProgram(ours);
  const graph = await prebuildProject(ours, tree);
  await copyProgram(idle);
  await giveEmptyProvider(idle);
  await cp(join(projectRoot, "bench/empty"), bare, { recursive: true });
  await symlink(join(projectRoot, "node_modules"), join(bare, "node_modules"));
  await writeFile(join(bare, "package.json"), '{"type": "module"}');
  await writeFile(join(bare, "graph.json"), JSON.stringify(Object.fromEntries(graph)));

  const { pulumi, environment } = bench.engine;
  const run = (folder: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): string =>
    execFileSync(pulumi, [...args, "--non-interactive"], {
      cwd: folder,
      env: { ...environment, ...more },
      encoding: "utf8",
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "pipe"],
    });
  await mkdir(join(bare, "state"));
  for (const folder of [ours, idle, bare]) run(folder, ["stack", "init", "bench"]);
  for (const [key, value] of [
    ["stagex:tree", tree],
    ["stagex:verify", "false"],
  ] as const)
    for (const folder of [ours, idle]) run(folder, ["config", "set", key, value, "--stack", "bench"]);

  const timed = (folder: string, args: readonly string[], prepare = async () => {}): Timed => ({
    command: [pulumi, ...args, "--stack", "bench", "--non-interactive", "--suppress-progress"],
    cwd: folder,
    environment,
    async before() {
      await prepare();
      await readAll(folder);
    },
  });
  const up = ["up", "--yes", "--skip-preview", "--suppress-outputs"];
  const gone = (folder: string) => async () => {
    run(folder, ["stack", "rm", "bench", "--force", "--yes", "--preserve-config"]);
    run(folder, ["stack", "init", "bench"]);
    // Moved, not removed: ext4 does not reuse inodes for some seconds. A search for free ones
    // passes all of them.
    await rename(join(folder, "out"), join(bench.scratch, `out-${randomUUID()}`)).catch(() => undefined);
  };
  const results: PairResult[] = [];
  const against = async (name: string, of: (folder: string) => Timed): Promise<void> => {
    const yardsticks = [
      { name: `${name}, against the same program with an empty provider`, timed: of(idle), target: 1.1 },
      { name: `${name}, against bare edges`, timed: of(bare), target: null },
    ];
    results.push(...(await timeAgainst(name, of(ours), yardsticks, bench.pairs)));
  };
  await against(`preview of ${graph.size} images`, (folder) => timed(folder, ["preview"]));
  await against("first up, all in the ledger", (folder) => timed(folder, up, gone(folder)));
  await against("the same, the state written once at the end", (folder) =>
    withoutCheckpoints(timed(folder, up, gone(folder))),
  );
  await against("up without a change", (folder) => timed(folder, up));
  const memoryOf = async (folder: string) => {
    await gone(folder)();
    return await peakMemory(bench.scratch, (more) => run(folder, [...up, "--stack", "bench"], more));
  };
  const [memory, least] = [await memoryOf(ours), await memoryOf(bare)];
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

/**
 * Reads all files of a project into the kernel's cache, where a user's repeated runs find them. A
 * machine may drop files that were not read for some seconds, such as during the other runs. Then
 * the disk would be measured.
 */
async function readAll(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) if (entry.isFile()) await readFile(join(entry.parentPath, entry.name));
}

/** Turns checkpoints off, as `stagex start` does for a stack of packages alone. */
function withoutCheckpoints(timed: Timed): Timed {
  return { ...timed, environment: { ...timed.environment, PULUMI_SKIP_CHECKPOINTS: "true" } };
}

/** Replaces a project's provider by the empty one. */
async function giveEmptyProvider(project: string): Promise<void> {
  const folder = join(project, "empty-provider");
  await cp(join(projectRoot, "bench/empty/provider"), folder, { recursive: true });
  await rename(join(folder, "pulumi-resource-empty"), join(folder, "pulumi-resource-stagex"));
  const settings = join(project, "Pulumi.yaml");
  const before = await readFile(settings, "utf8");
  const after = before.replace("path: providers/stagex", "path: empty-provider");
  if (after === before) throw new Error(`${settings} names no provider to replace`);
  await writeFile(settings, after);
}

/** Copies a checkout's packages without its digests, which the made-up images would not match. */
async function packagesOf(checkout: string, bench: BenchmarkRun): Promise<string> {
  const root = join(bench.scratch, "packages-tree");
  await cp(join(checkout, "packages"), join(root, "packages"), { recursive: true });
  return root;
}

async function madeTree(bench: BenchmarkRun): Promise<string> {
  const root = join(bench.scratch, "made-tree");
  await writeSyntheticTree(root, 500);
  return root;
}
