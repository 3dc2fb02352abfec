import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, type DaemonInfo, type Endpoint, queryDaemon } from "./endpoint.ts";

export type WaitOptions = {
  /** How long to wait, in seconds. */
  readonly seconds: number;
  /** Told why it does not answer yet. */
  readonly onWaiting?: (why: string, seconds: number) => void;
  readonly signal?: AbortSignal;
};

/** Between two questions, in milliseconds. */
const [firstPause, longestPause] = [500, 5_000];

/** What lasts is asked again this often: a machine that is still starting may say strange things. */
const doubts = 2;

/**
 * Waits until the daemon answers, and gives what it says of itself. Throws {@link ConnectionError} after the time given, and sooner
 * where waiting can't help: for a certificate that is refused, say.
 */
export async function waitForDaemon(endpoint: Endpoint, patience: WaitOptions): Promise<DaemonInfo> {
  const { seconds, onWaiting = () => {}, signal } = patience;
  const start = performance.now();
  const waited = () => (performance.now() - start) / 1000;
  for (let [pause, lasting] = [firstPause, 0]; ; pause = Math.min(longestPause, pause * 2)) {
    try {
      return await queryDaemon(endpoint, signal);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      // Not in a row: of a certificate that is refused, every other answer may be that the connection ended (TLS 1.3).
      if (error.diagnosis.isPermanent) lasting += 1;
      if (lasting > doubts || waited() + pause / 1000 > seconds) throw error;
      onWaiting(error.diagnosis.message, Math.round(waited()));
    }
    await sleep(pause, undefined, signal ? { signal } : {});
  }
}
