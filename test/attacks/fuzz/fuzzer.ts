import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

/** A reader of foreign input, and the errors that are not faults of ours. */
export type Surface = {
  readonly seeds: readonly Uint8Array[];
  /** Words that mean something to the reader. */
  readonly dictionary: readonly string[];
  /** Reads an altered input. What it throws must be one of `expected`; checks of what it takes throw too. */
  readonly read: (input: Buffer) => unknown;
  /** The errors with which the reader refuses an input. */
  readonly expected: readonly (abstract new (
    ...args: never[]
  ) => Error)[];
};

/** How long each seed is tried, in seconds. */
const seconds = Number(process.env.STAGEX_FUZZ_SECONDS ?? 3);

/** How often each seed is tried at least. */
const leastRounds = 20;

/** No input takes longer, in milliseconds of this process's own work. */
const longest = 5000;

/** Registers the tests of a surface: one seed that is always the same, and one that is another each time, or $STAGEX_SEED. */
export function fuzz(name: string, make: () => Surface | Promise<Surface>): void {
  const random = Number(process.env.STAGEX_SEED ?? Date.now() % 1_000_000);
  for (const [kind, seed] of [
    ["a fixed seed", 1],
    ["another seed", random],
  ] as const) {
    test(`${name}, altered by ${kind}, is read or refused`, { timeout: (seconds + 120) * 1000 }, async () => {
      const surface = await make();
      for (const input of surface.seeds) await surface.read(Buffer.from(input));
      const end = performance.now() + seconds * 1000;
      let round = 0;
      for (; performance.now() < end || round < leastRounds; round++) await tryOne(surface, seed, round);
      expect(round).toBeGreaterThanOrEqual(leastRounds);
    });
  }
}

async function tryOne(surface: Surface, seed: number, round: number): Promise<void> {
  const input = altered(surface, new Dice(seed * 1_000_003 + round));
  const before = process.cpuUsage();
  let fault: unknown;
  try {
    await surface.read(input);
  } catch (error) {
    if (!surface.expected.some((kind) => error instanceof kind)) fault = error;
    else if (String((error as Error).message).length > 200_000) fault = new Error("its message has no end");
  }
  const { user, system } = process.cpuUsage(before);
  const spent = (user + system) / 1000;
  if (fault === undefined && spent > longest) fault = new Error(`it took ${spent} ms`);
  if (fault === undefined) return;
  const file = join(mkdtempSync(join(tmpdir(), "stagex-fuzz-")), "input");
  writeFileSync(file, input);
  throw new Error(`STAGEX_SEED=${seed}, round ${round}, input in ${file}: ${String(fault)}`, {
    cause: fault,
  });
}

/** A sequence of numbers that a seed determines (mulberry32). */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, and without, the bound. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

/** What readers trip over, whatever they read. */
const common = [
  ..."\0\t\n\r\u001b\u0085\u00a0\u2028\u202e\ufeff\ufffd{}[]()<>\"'`\\$#=,:;/*?%|&!@~^-+._ ",
  "\r\n",
  "../",
  "__proto__",
  "constructor",
  "null",
  "-0",
  "1e999",
  "9007199254740993",
  "-9223372036854775809",
  "18446744073709551616",
  "0x7fffffff",
  "\ud83d\ude00",
  "e\u0301",
].map((text) => Buffer.from(text));

/** Bytes that no text in UTF-8 has. */
const noText = [Buffer.from([0xff]), Buffer.from([0xc0, 0x80]), Buffer.from([0xed, 0xa0, 0x80])];

const largestInput = 1 << 18;

function altered({ seeds, dictionary }: Surface, dice: Dice): Buffer {
  const words = [...common, ...noText, ...dictionary.map((word) => Buffer.from(word, "latin1"))];
  let bytes: Buffer = Buffer.from(dice.pick(seeds));
  for (let times = 1 + dice.below(4); times > 0; times--) {
    bytes = alteredOnce(bytes, Buffer.from(dice.pick(seeds)), words, dice).subarray(0, largestInput);
  }
  return bytes;
}

function alteredOnce(bytes: Buffer, other: Buffer, words: readonly Buffer[], dice: Dice): Buffer {
  const at = dice.below(bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  const span = Math.min(after.length, dice.pick([1, 2, 4, 16, 64, 1000]));
  switch (dice.below(10)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << dice.below(8));
      return flipped;
    }
    case 1:
      return before;
    case 2:
      return Buffer.concat([before, after.subarray(span)]);
    case 3:
      return Buffer.concat([before, after.subarray(0, span), after]);
    case 4: {
      const from = dice.below(other.length + 1);
      return Buffer.concat([before, other.subarray(from, from + dice.pick([4, 64, 1000])), after]);
    }
    case 5:
      return Buffer.concat([before, repeated(dice.pick(words), dice.pick([8, 300, 20_000])), after]);
    case 6:
      return Buffer.concat([before, repeated(after.subarray(0, span), dice.pick([2, 50, 3000])), after]);
    case 7: {
      const number = /\d+/.exec(after.toString("latin1"));
      if (number === null) return Buffer.concat([before, dice.pick(words), after]);
      const value = dice.pick(["0", "-1", "4294967296", "9007199254740993", "1e400", "9".repeat(5000)]);
      const end = number.index + number[0].length;
      return Buffer.concat([
        before,
        after.subarray(0, number.index),
        Buffer.from(value),
        after.subarray(end),
      ]);
    }
    default:
      return Buffer.concat([before, dice.pick(words), dice.below(2) === 0 ? after : after.subarray(span)]);
  }
}

function repeated(word: Buffer, times: number): Buffer {
  return Buffer.concat(
    Array.from({ length: Math.min(times, 1 + largestInput / Math.max(1, word.length)) }, () => word),
  );
}
