import type { BuilderState } from "./builder-state.ts";
import type { Clock } from "./clock.ts";
import type { ScheduledBuilder } from "./job.ts";

/** Asks a lost builder whether it works again; throws where not. */
export type BuilderProbe = (builder: ScheduledBuilder, signal: AbortSignal) => Promise<unknown>;

export type RecoveryListener = {
  readonly onBack: (builder: BuilderState) => void;
  readonly onFailure: (builder: BuilderState, reason: string) => void;
};

/** In seconds. */
const [firstPause, longestPause, answerTimeout] = [2, 300, 30];

type Recovery = { pause: number; stop: () => void };

/** Probes lost builders until they answer, at intervals that double. */
export class BuilderRecovery {
  readonly #probe: BuilderProbe;
  readonly #clock: Clock;
  readonly #listener: RecoveryListener;
  readonly #recoveries = new Map<BuilderState, Recovery>();
  #isClosed = false;

  constructor(probe: BuilderProbe, clock: Clock, listener: RecoveryListener) {
    this.#probe = probe;
    this.#clock = clock;
    this.#listener = listener;
  }

  /**
   * Begins to probe. A builder that is lost again before it has done anything is probed less and
   * less often.
   */
  start(builder: BuilderState): void {
    const recovery = this.#recoveries.get(builder) ?? { pause: firstPause, stop: () => {} };
    this.#recoveries.set(builder, recovery);
    this.#probeLater(builder, recovery);
  }

  /** Notes that a builder has done a job: if it is lost again, it is probed soon. */
  noteWorking(builder: BuilderState): void {
    this.#recoveries.delete(builder);
  }

  close(): void {
    this.#isClosed = true;
    for (const { stop } of this.#recoveries.values()) stop();
  }

  #probeLater(builder: BuilderState, recovery: Recovery): void {
    recovery.stop = this.#clock.after(recovery.pause, () => void this.#probeNow(builder, recovery));
    recovery.pause = Math.min(longestPause, recovery.pause * 2);
  }

  async #probeNow(builder: BuilderState, recovery: Recovery): Promise<void> {
    const controller = new AbortController();
    const silence = Promise.withResolvers<never>();
    const giveUp = (reason: Error) => {
      controller.abort(reason);
      silence.reject(reason);
    };
    const late = () => giveUp(new Error(`no answer within ${answerTimeout} s`));
    const stopTimer = this.#clock.after(answerTimeout, late);
    recovery.stop = () => {
      stopTimer();
      giveUp(new Error("closed"));
    };
    try {
      await Promise.race([this.#probe(builder.builder, controller.signal), silence.promise]);
      if (!this.#isClosed) this.#listener.onBack(builder);
    } catch (error) {
      if (this.#isClosed) return;
      this.#listener.onFailure(builder, error instanceof Error ? error.message : String(error));
      this.#probeLater(builder, recovery);
    } finally {
      stopTimer();
    }
  }
}
