import { setTimeout as sleep } from "node:timers/promises";
import { lock } from "proper-lockfile";
import { codeOf } from "./download/archived-file.ts";

/** Milliseconds after which a killed holder's lock is taken over, and between signs of life. */
const lockTimes = { stale: 3_000, update: 1_000 };

/**
 * Waits for the lock at a path, and returns what releases it. A killed holder's lock is taken over after
 * seconds.
 * @param lost aborted where the lock is taken over from this process: the machine slept, or the process was held up
 * @throws the signal's reason when aborted
 */
export async function acquireLock(
  path: string,
  signal: AbortSignal,
  lost: AbortController,
): Promise<() => Promise<void>> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const release = await lock(path, {
        ...lockTimes,
        realpath: false,
        lockfilePath: path,
        onCompromised: (error) => lost.abort(error),
      });
      // A lost lock is another's by now, and not ours to release.
      return () => (lost.signal.aborted ? Promise.resolve() : release());
    } catch (error) {
      if (codeOf(error) !== "ELOCKED") throw error;
      await sleep(100, undefined, { signal });
    }
  }
}
