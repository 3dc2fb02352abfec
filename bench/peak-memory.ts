import { appendFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const variable = "BENCH_MEMORY";

/** Peak resident memory of one Node process, shared pages included (getrusage: ru_maxrss). */
const noted = z.object({ program: z.string(), mebibytes: z.number() });

/** Peak memory of the program and the provider, in MiB. */
export type PeakMemory = { readonly program: number; readonly provider: number };

/**
 * Runs an action in an environment in which each Node process records its peak memory at its end.
 * Not for timed runs.
 */
export async function peakMemory(
  scratch: string,
  run: (environment: NodeJS.ProcessEnv) => void,
): Promise<PeakMemory> {
  const file = join(scratch, "memory.jsonl");
  await rm(file, { force: true });
  run({ [variable]: file, NODE_OPTIONS: `--import=${import.meta.url}` });
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  const all = lines.map((line) => noted.parse(JSON.parse(line)));
  const peakOf = (name: RegExp) =>
    Math.max(...all.filter(({ program }) => name.test(program)).map(({ mebibytes }) => mebibytes));
  return { program: peakOf(/\/cmd\/run\/index\.js$/), provider: peakOf(/\/main\.ts$/) };
}

const file = process.env[variable];
if (file !== undefined) {
  process.on("exit", () => {
    const mebibytes = process.resourceUsage().maxRSS / 1024;
    appendFileSync(file, `${JSON.stringify({ program: process.argv[1] ?? "", mebibytes })}\n`);
  });
}
