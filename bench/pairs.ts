import { spawn } from "node:child_process";
import { once } from "node:events";

/** A command to time, and what it needs. */
export type Timed = {
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** Done before each run, and not timed. */
  readonly before?: () => Promise<void>;
};

/** What was found: seconds (or MiB) of each, and the ratio first to second taken pair by pair, so that a drifting machine does not matter. */
export type PairResult = {
  readonly name: string;
  readonly first: Spread;
  readonly second: Spread;
  readonly ratio: Spread;
  /** The ratio that it should not exceed; null where none is set. */
  readonly target: number | null;
  /** Of both figures: seconds where not given. */
  readonly unit?: "MiB";
};

export type Spread = { readonly min: number; readonly median: number; readonly max: number };

/** Runs the two in turn, A B A B …, after one pair that does not count. */
export async function timePairs(
  name: string,
  first: Timed,
  second: Timed,
  pairs: number,
  target: number | null,
): Promise<PairResult> {
  const times: [number, number][] = [];
  for (let pair = -1; pair < pairs; pair++) {
    const found: [number, number] = [await seconds(first), await seconds(second)];
    if (pair >= 0) times.push(found);
    process.stderr.write(
      `${name}: pair ${pair + 1} of ${pairs}: ${found.map((time) => time.toFixed(2)).join(" s, ")} s\n`,
    );
  }
  return {
    name,
    first: spread(times.map(([time]) => time)),
    second: spread(times.map(([, time]) => time)),
    ratio: spread(times.map(([a, b]) => a / b)),
    target,
  };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(half) : (at(half - 1) + at(half)) / 2;
  return { min: at(0), median, max: at(sorted.length - 1) };
}

async function seconds({ command: [program, ...args], cwd, environment, before }: Timed): Promise<number> {
  await before?.();
  const started = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: environment ?? process.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => output.push(chunk));
  await once(child, "close");
  const time = (performance.now() - started) / 1000;
  if (child.exitCode === 0) return time;
  throw new Error(
    `${program} ${args.join(" ")} ended with ${child.exitCode}:\n${Buffer.concat(output).toString().slice(-4000)}`,
  );
}
