import { spawn } from "node:child_process";
import { once } from "node:events";

/** A command to time. */
export type Timed = {
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** Runs before each run of the command, and is not timed. */
  readonly before?: () => Promise<void>;
};

/**
 * Seconds (or MiB) of two commands, and their ratio pair by pair, so that a drifting machine does
 * not matter.
 */
export type PairResult = {
  readonly name: string;
  readonly first: Spread;
  readonly second: Spread;
  readonly ratio: Spread;
  /** The highest ratio that is acceptable; null where none is set. */
  readonly target: number | null;
  /** The unit of both figures. Default: seconds. */
  readonly unit?: "MiB";
};

export type Spread = { readonly min: number; readonly median: number; readonly max: number };

/** A reference for a command. */
export type Yardstick = {
  /** Name of the result. */
  readonly name: string;
  readonly timed: Timed;
  readonly target: number | null;
};

/** Times two commands in turn, A B A B …, after one pair that does not count. */
export async function timePairs(
  name: string,
  first: Timed,
  second: Timed,
  pairs: number,
  target: number | null,
): Promise<PairResult> {
  const [result] = await timeAgainst(name, first, [{ name, timed: second, target }], pairs);
  if (result === undefined) throw new Error(`${name}: nothing was timed`);
  return result;
}

/**
 * Times a command and its references in turn, A B C A B C …, after one round that does not count.
 */
export async function timeAgainst(
  name: string,
  first: Timed,
  yardsticks: readonly Yardstick[],
  rounds: number,
): Promise<PairResult[]> {
  const times: number[][] = [];
  for (let round = -1; round < rounds; round++) {
    const found = [];
    for (const timed of [first, ...yardsticks.map((yardstick) => yardstick.timed)])
      found.push(await seconds(timed));
    if (round >= 0) times.push(found);
    const words = found.map((time) => `${time.toFixed(2)} s`).join(", ");
    process.stderr.write(`${name}: round ${round + 1} of ${rounds}: ${words}\n`);
  }
  const column = (index: number): number[] => times.map((found) => found[index] ?? Number.NaN);
  return yardsticks.map(({ name: called, target }, index) => {
    const [ours, theirs] = [column(0), column(index + 1)];
    const ratios = ours.map((time, round) => time / (theirs[round] ?? Number.NaN));
    return { name: called, first: spread(ours), second: spread(theirs), ratio: spread(ratios), target };
  });
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
