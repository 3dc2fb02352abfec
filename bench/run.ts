import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { pathsOf, projectRoot } from "../lib/paths.ts";
import { formatTable } from "../lib/text/text-table.ts";
import { engineEnvironment } from "../tools/engine-environment.ts";
import { prepareEngineFolder } from "../tools/engine-folder.ts";
import { provideTools } from "../tools/tool-resolver.ts";
import type { Benchmark, BenchmarkRun } from "./benchmark.ts";
import { benchBuild, benchLargeBuild } from "./build-overhead.ts";
import { benchEngine } from "./engine-overhead.ts";
import { benchFleet } from "./fleet.ts";
import type { PairResult } from "./pairs.ts";
import { benchRelease } from "./release-builds.ts";
import { benchSchedule } from "./schedule.ts";
import { benchSignatures } from "./signature-checking.ts";
import { benchReading } from "./tree-reading.ts";

/**
 * `npm run bench [PART…]` measures against named references, each figure a ratio of one run. With
 * `STAGEX_TREE=<a StageX checkout>` it measures on the real tree, else on a made one of 500 images.
 */
const parts: Readonly<Record<string, Benchmark>> = {
  reading: benchReading,
  engine: benchEngine,
  build: benchBuild,
  layer: benchLargeBuild,
  release: benchRelease,
  fleet: benchFleet,
  signatures: benchSignatures,
  schedule: benchSchedule,
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in parts));
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(", ")}; there are: ${Object.keys(parts).join(", ")}\n`);
  process.exit(2);
}

const tools = await provideTools(["pulumi", "pulumi-language-nodejs", "buildctl", "buildkitd", "runc"]);
const path = (name: Parameters<typeof tools.get>[0]): string => tools.get(name)?.path ?? "";
const programs = await prepareEngineFolder(
  { pulumi: path("pulumi"), languageHost: path("pulumi-language-nodejs") },
  pathsOf().tools,
);
const scratch = await mkdtemp(join(tmpdir(), "stagex-bench-"));
try {
  const bench: BenchmarkRun = {
    scratch,
    engine: {
      pulumi: programs.pulumi,
      environment: {
        ...engineEnvironment(programs),
        PULUMI_HOME: join(scratch, "pulumi-home"),
        PULUMI_CONFIG_PASSPHRASE: "",
      },
    },
    tools: { buildctl: path("buildctl"), buildkitd: path("buildkitd"), runc: path("runc") },
    checkout: process.env.STAGEX_TREE,
    pairs: Number(process.env.BENCH_PAIRS ?? 5),
  };
  const results: PairResult[] = [];
  const notes: string[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    const found = await part(bench);
    results.push(...found.results);
    notes.push(...found.notes);
  }
  const machine = `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`;
  await mkdir(join(projectRoot, "bench/results"), { recursive: true });
  await writeFile(
    join(projectRoot, "bench/results/latest.json"),
    `${JSON.stringify({ machine, results, notes }, null, 2)}\n`,
  );
  process.stdout.write(
    `\n${machine}; median (min to max) of pairs\n\n${table(results)}\n\n${notes.join("\n")}\n`,
  );
} finally {
  await rm(scratch, { recursive: true, force: true });
}

function table(results: readonly PairResult[]): string {
  const figure = ({ median }: PairResult["first"], unit: PairResult["unit"]): string =>
    unit === undefined ? `${median.toFixed(2)} s` : `${median.toFixed(0)} ${unit}`;
  const rows = results.map(({ name, first, second, ratio, target, unit }) => [
    name,
    figure(first, unit),
    figure(second, unit),
    `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)})`,
    target === null ? "" : `${ratio.median <= target ? "met" : "MISSED"}, <= ${target}`,
  ]);
  return formatTable([["what", "ours", "against", "ratio", "target"], ...rows]).join("\n");
}
