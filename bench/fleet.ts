import { execFileSync } from "node:child_process";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../lib/paths.ts";
import { addSleepingImage } from "../test/support/builders/sleeping-image.ts";
import type { BenchmarkResult, BenchmarkRun } from "./benchmark.ts";
import { copyProgram } from "./copied-program.ts";
import { type Timed, timePairs } from "./pairs.ts";

/**
 * Images without dependencies that sleep in place of computing, so that one machine can act as
 * several.
 */
const sleepers = { images: 12, seconds: 4 };

/** Measures three private daemons against one, on the seed tree and a dozen sleeping images. */
export async function benchFleet(bench: BenchmarkRun): Promise<BenchmarkResult> {
  const project = join(bench.scratch, "fleet");
  await copyProgram(project);
  const tree = join(project, "tree");
  await cp(join(projectRoot, "examples/seed-tree"), tree, { recursive: true });
  for (let number = 1; number <= sleepers.images; number++)
    await addSleepingImage(tree, `sleeper${number}`, sleepers.seconds);
  const git = (...args: string[]) => execFileSync("git", ["-C", tree, ...args], { stdio: "ignore" });
  git("init");
  git("add", "--all", "--force");

  const { pulumi, environment } = bench.engine;
  const run = (...args: string[]) =>
    execFileSync(pulumi, [...args, "--non-interactive"], { cwd: project, env: environment, stdio: "ignore" });
  const stacks = { one: [], three: [["localBuilders", "3"]] } as const;
  for (const [stack, settings] of Object.entries(stacks)) {
    run("stack", "init", stack);
    for (const [key, value] of [["tree", "tree"], ["verify", "false"], ["cache", "false"], ...settings])
      run("config", "set", `stagex:${key}`, `${value}`, "--stack", stack);
  }
  const timed = (stack: keyof typeof stacks): Timed => ({
    command: [
      pulumi,
      ...`up --yes --skip-preview --non-interactive --parallel 48 --stack ${stack}`.split(" "),
    ],
    cwd: project,
    environment,
    before: async () => {
      run("stack", "rm", stack, "--force", "--yes", "--preserve-config");
      run("stack", "init", stack);
      for (const part of ["store", "ledger", "built"])
        await rm(join(project, ".stagex", part), { recursive: true, force: true });
    },
  });
  const name = `the seed tree and ${sleepers.images} images of ${sleepers.seconds} s, three daemons against one`;
  return { results: [await timePairs(name, timed("three"), timed("one"), bench.pairs, null)], notes: [] };
}
