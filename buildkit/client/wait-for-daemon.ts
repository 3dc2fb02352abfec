import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError } from "./connection-error.ts";
import { type DaemonInfo, queryDaemon } from "./daemon-query.ts";
import type { Endpoint } from "./endpoint.ts";

export type WaitOptions = {
  /** How long to wait, in seconds. */
  readonly seconds: number;
  /** Called with the reason for which it does not answer yet. */
  readonly onWaiting?: (reason: string, seconds: number) => void;
  readonly signal?: AbortSignal;
};

/** Between two queries, in milliseconds. */
const [firstPause, longestPause] = [500, 5_000];

/**
 * How often a permanent failure is queried again: a machine that is still starting may give wrong
 * answers.
 */
const retriesOfPermanent = 2;

/**
 * Waits until the daemon answers.
 * @throws ConnectionError after the given time, and sooner where waiting can't help, as for a
 * refused certificate
 */
export async function waitForDaemon(endpoint: Endpoint, options: WaitOptions): Promise<DaemonInfo> {
  const { seconds, onWaiting = () => {}, signal } = options;
  const start = performance.now();
  const waited = () => (performance.now() - start) / 1000;
  for (let [pause, permanent] = [firstPause, 0]; ; pause = Math.min(longestPause, pause * 2)) {
    try {
      return await queryDaemon(endpoint, signal);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      // Counted over all queries: about every other refusal shows only as the end of the connection
      // (TLS 1.3).
      if (error.diagnosis.isPermanent) permanent += 1;
      if (permanent > retriesOfPermanent || waited() + pause / 1000 > seconds) throw error;
      onWaiting(error.diagnosis.message, Math.round(waited()));
    }
    await sleep(pause, undefined, signal ? { signal } : {});
  }
}
