import { BuilderLostError } from "../scheduler/scheduler-errors.ts";
import { ConnectionError } from "./connection-error.ts";
import { countActiveBuilds, queryDaemon } from "./daemon-query.ts";
import type { Endpoint } from "./endpoint.ts";

/**
 * After so many pulses without a heartbeat the builder is asked whether it has any build at all.
 */
const quietPulses = 3;

export type WatchdogRules = {
  /** Seconds without a heartbeat after which the work is given up here. */
  readonly stall: number;
  /** Seconds between two queries whether the builder still answers. Default 20. */
  readonly pulse?: number;
  /**
   * How many queries in a row may fail (each lasts up to 20 s) before the builder is given up.
   * Default 3.
   */
  readonly misses?: number;
};

/**
 * Called with every sign of life of the work; after `delivered` the work needs its builder no more.
 */
export type Heartbeat = (sign?: "delivered") => void;

/**
 * Does work on a builder that may hang, or lose its connection silently: TCP alone would wait for
 * hours. The work's signal is aborted with {@link BuilderLostError} as the reason where its builder
 * is given up.
 */
export async function withWatchdog<Result>(
  endpoint: Endpoint,
  { stall, pulse = 20, misses = 3 }: WatchdogRules,
  work: (signal: AbortSignal, heartbeat: Heartbeat) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const lost = new AbortController();
  const done = new AbortController();
  let lastSign = performance.now();
  const checkStall = () => {
    if (performance.now() - lastSign < stall * 1000) return;
    lost.abort(new BuilderLostError(`no output for ${formatTime(stall)} (stagex:stall)`));
  };
  const stallTimer = setInterval(checkStall, Math.min(10_000, stall * 250));
  const polling = (async () => {
    for (let missed = 0; !done.signal.aborted; ) {
      await pause(pulse, done.signal);
      if (done.signal.aborted) return;
      const asked = performance.now();
      const isQuiet = asked - lastSign > quietPulses * pulse * 1000;
      const failure = await findFailure(endpoint, isQuiet, done.signal);
      if (done.signal.aborted) return;
      // A full line leaves little room for queries: a sign of the work is an answer too.
      missed = failure === undefined || lastSign > asked ? 0 : missed + 1;
      if (failure !== undefined && missed >= misses) return lost.abort(new BuilderLostError(failure));
    }
  })();
  const stop = () => {
    clearInterval(stallTimer);
    done.abort();
  };
  try {
    return await work(AbortSignal.any([signal, lost.signal]), (sign) => {
      lastSign = performance.now();
      if (sign === "delivered") stop();
    });
  } finally {
    stop();
    await polling;
  }
}

/**
 * Returns the reason why the builder seems to be dead; undefined where it works, or answers at all.
 */
async function findFailure(
  endpoint: Endpoint,
  isQuiet: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await queryDaemon(endpoint, signal);
    if (!isQuiet || (await countActiveBuilds(endpoint, signal)) !== 0) return undefined;
    return "it has no build of ours any more and reported no end of it: the connection was lost silently";
  } catch (error) {
    // A builder that refuses a certificate is alive. A certificate that expires during a build does
    // not end its connection.
    if (error instanceof ConnectionError && error.diagnosis.phase === "tls") return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}

function formatTime(seconds: number): string {
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
