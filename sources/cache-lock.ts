import { setTimeout as sleep } from "node:timers/promises";
import { lock } from "proper-lockfile";
import { errorCode } from "../lib/fs/error-code.ts";

/**
 * In milliseconds: the age at which a killed holder's lock is taken over, and the holder's update
 * interval.
 */
const lockTimes = { stale: 3_000, update: 1_000 };

/**
 * Waits for the lock at a path, and returns a function that releases it. A killed holder's lock is
 * taken over after seconds.
 * @param lost aborted when another process takes the lock over, after this one was suspended or
 *   held up
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
      // A lost lock belongs to another process by now, so it is not released here.
      return () => (lost.signal.aborted ? Promise.resolve() : release());
    } catch (error) {
      if (errorCode(error) !== "ELOCKED") throw error;
      await sleep(100, undefined, { signal });
    }
  }
}
