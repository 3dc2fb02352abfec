import { BuilderLost } from "./builder-lost.ts";
import { type Endpoint, workers } from "./endpoint.ts";

export type WatchRules = {
  /** Seconds without a sign of life from the work, after which it is given up here. */
  readonly stall: number;
  /** Seconds between two questions whether the builder still answers. Default 20. */
  readonly pulse?: number;
  /** How many in a row may stay without an answer (each is waited for up to 20 s) before the builder is given up. Default 3. */
  readonly misses?: number;
};

/**
 * Does work on a builder that may hang, or be cut off without a word: TCP alone would wait for hours. `work` gets a signal that ends it
 * with {@link BuilderLost} as the reason, and calls `stir` with every sign of life.
 */
export async function whileWatched<Result>(
  endpoint: Endpoint,
  { stall, pulse = 20, misses = 3 }: WatchRules,
  work: (signal: AbortSignal, stir: () => void) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const lost = new AbortController();
  const done = new AbortController();
  let stirred = performance.now();
  const looking = setInterval(
    () => {
      if (performance.now() - stirred < stall * 1000) return;
      lost.abort(new BuilderLost(`nothing has stirred for ${Math.round(stall / 60)} minutes (stagex:stall)`));
    },
    Math.min(10_000, stall * 250),
  );
  const asking = (async () => {
    for (let missed = 0; !done.signal.aborted; ) {
      await pause(pulse, done.signal);
      if (done.signal.aborted) return;
      const failure = await workers(endpoint, done.signal).then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      missed = failure === undefined ? 0 : missed + 1;
      if (failure !== undefined && missed >= misses) return lost.abort(new BuilderLost(failure));
    }
  })();
  try {
    return await work(AbortSignal.any([signal, lost.signal]), () => {
      stirred = performance.now();
    });
  } finally {
    clearInterval(looking);
    done.abort();
    await asking;
  }
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
