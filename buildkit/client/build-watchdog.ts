import { BuilderLostError } from "../scheduler/scheduler-errors.ts";
import { ConnectionError, countActiveBuilds, type Endpoint, queryDaemon } from "./endpoint.ts";

/** How many pulses without a sign of life make work so quiet that its builder is asked whether it builds anything at all. */
const quiet = 3;

export type WatchdogRules = {
  /** Seconds without a sign of life from the work, after which it is given up here. */
  readonly stall: number;
  /** Seconds between two questions whether the builder still answers. Default 20. */
  readonly pulse?: number;
  /** How many in a row may stay without an answer (each is waited for up to 20 s) before the builder is given up. Default 3. */
  readonly misses?: number;
};

/** Told with every sign of life; after `delivered` the work needs its builder no more, and what becomes of that is nothing to it. */
export type Heartbeat = (sign?: "delivered") => void;

/**
 * Does work on a builder that may hang, or be cut off without a word: TCP alone would wait for hours. `work` gets a signal that ends it
 * with {@link BuilderLostError} as the reason, and calls `stir` with every sign of life.
 */
export async function withWatchdog<Result>(
  endpoint: Endpoint,
  { stall, pulse = 20, misses = 3 }: WatchdogRules,
  work: (signal: AbortSignal, stir: Heartbeat) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const lost = new AbortController();
  const done = new AbortController();
  let stirred = performance.now();
  const looking = setInterval(
    () => {
      if (performance.now() - stirred < stall * 1000) return;
      lost.abort(new BuilderLostError(`nothing has stirred for ${inWords(stall)} (stagex:stall)`));
    },
    Math.min(10_000, stall * 250),
  );
  const asking = (async () => {
    for (let missed = 0; !done.signal.aborted; ) {
      await pause(pulse, done.signal);
      if (done.signal.aborted) return;
      const asked = performance.now();
      const isQuiet = asked - stirred > quiet * pulse * 1000;
      const failure = await silenceOf(endpoint, isQuiet, done.signal);
      if (done.signal.aborted) return;
      // A line that is full leaves little room for questions: what comes from the work is an answer too.
      missed = failure === undefined || stirred > asked ? 0 : missed + 1;
      if (failure !== undefined && missed >= misses) return lost.abort(new BuilderLostError(failure));
    }
  })();
  const stop = () => {
    clearInterval(looking);
    done.abort();
  };
  try {
    return await work(AbortSignal.any([signal, lost.signal]), (sign) => {
      stirred = performance.now();
      if (sign === "delivered") stop();
    });
  } finally {
    stop();
    await asking;
  }
}

/** Why the builder seems to be at work no longer; undefined where it does, or can't be asked though it is there. */
async function silenceOf(
  endpoint: Endpoint,
  isQuiet: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await queryDaemon(endpoint, signal);
    if (!isQuiet || (await countActiveBuilds(endpoint, signal)) !== 0) return undefined;
    return "it has no build of ours any more, and said nothing of its end: the connection was lost without a word";
  } catch (error) {
    // Who refuses a certificate is there. One that expires in mid-build does not end the connection that the build has.
    if (error instanceof ConnectionError && error.diagnosis.phase === "tls") return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}

function inWords(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} minutes`;
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
