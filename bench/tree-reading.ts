import { join } from "node:path";
import { readTree } from "../distro/tree/tree.ts";
import { projectRoot } from "../lib/paths.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { type PairResult, spread, type Timed, timePairs } from "./pairs.ts";
import { writeSyntheticTree } from "./synthetic-tree.ts";

/**
 * Measures the reading and planning of a tree against StageX's own generator, and with its size.
 */
export async function benchReading(bench: BenchmarkRun): Promise<BenchmarkResult> {
  const results: PairResult[] = [];
  const notes: string[] = [];
  if (bench.checkout) {
    const tree = bench.checkout;
    const stagex = (...args: string[]): Timed => ({
      command: [join(projectRoot, "cli/stagex"), ...args, "--json", "--tree", tree],
      cwd: projectRoot,
    });
    const theirs: Timed = { command: ["python3", "src/targets.py"], cwd: tree };
    const against = async (name: string, ours: Timed) =>
      results.push(await timePairs(`${name}, against src/targets.py`, ours, theirs, bench.pairs, 0.3));
    await against("tree read and planned", stagex("show", "--all"));
    await against("tree compared with its last commit", stagex("plan", "--since", "HEAD"));
  } else notes.push("reading: no StageX checkout given (STAGEX_TREE), so not measured against its generator");
  const perImage: number[] = [];
  for (const images of [500, 2_000, 10_000]) {
    const root = join(bench.scratch, `tree-${images}`);
    await writeSyntheticTree(root, images);
    const times: number[] = [];
    for (let run = 0; run < 3; run++) {
      const started = performance.now();
      await readTree(root);
      times.push((performance.now() - started) / 1000);
    }
    const { median } = spread(times);
    perImage.push((median / images) * 1e6);
    notes.push(
      `reading: ${images} images in ${median.toFixed(2)} s, ${((median / images) * 1e6).toFixed(0)} µs an image`,
    );
  }
  const [small = 0, , large = 0] = perImage;
  notes.push(
    `reading: an image of 10,000 takes ${(large / small).toFixed(2)} times what one of 500 does (1 is linear)`,
  );
  return { results, notes };
}
