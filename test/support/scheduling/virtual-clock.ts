import TinyQueue from "tinyqueue";
import type { Clock } from "../../../buildkit/scheduler/clock.ts";

type Timer = { readonly at: number; readonly order: number; action: (() => void) | undefined };

/**
 * A clock that jumps to the next timer as soon as all is computed. The same timers give the same
 * course of time.
 */
export class VirtualClock implements Clock {
  #now = 0;
  #set = 0;
  readonly #timers = new TinyQueue<Timer>([], (a, b) => a.at - b.at || a.order - b.order);

  now(): number {
    return this.#now;
  }

  after(seconds: number, action: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, seconds), order: this.#set++, action };
    this.#timers.push(timer);
    return () => {
      timer.action = undefined;
    };
  }

  /** Waits this many seconds. @throws the reason of the signal once that is aborted */
  sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const abort = () => {
        stop();
        reject(signal?.reason);
      };
      const stop = this.after(seconds, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /**
   * Lets time pass until the promise is settled, and returns its value.
   * @throws Error where no timer is left that could settle it
   */
  async until<Result>(promise: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    for (;;) {
      // All immediate consequences come before time goes on.
      await new Promise((resolve) => setImmediate(resolve));
      if (isSettled) return await promise;
      const timer = this.#timers.pop();
      if (!timer) throw new Error(`nothing is left to happen at ${this.#now} s, and something still waits`);
      if (!timer.action) continue;
      this.#now = timer.at;
      timer.action();
    }
  }
}
