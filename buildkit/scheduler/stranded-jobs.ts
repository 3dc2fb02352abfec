import type { Clock } from "./clock.ts";
import type { JobKind } from "./job-kind.ts";
import { allLostMessage } from "./no-builder-message.ts";
import type { QueuedJob } from "./queued-job.ts";
import { NoBuilderError } from "./scheduler-errors.ts";

/** Bounds the time that jobs wait while every builder of their kind is lost. */
export class StrandedJobs<Queued extends QueuedJob> {
  readonly #timers = new Map<JobKind<Queued>, { since: number; stop: () => void }>();
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #refuse: (queued: Queued, reason: NoBuilderError) => void;

  /** @param timeout in seconds */
  constructor(clock: Clock, timeout: number, refuse: (queued: Queued, reason: NoBuilderError) => void) {
    this.#clock = clock;
    this.#timeout = timeout;
    this.#refuse = refuse;
  }

  /** Starts, extends or stops the timer of a kind, whose jobs or builders have changed. */
  check(kind: JobKind<Queued>): void {
    const timer = this.#timers.get(kind);
    timer?.stop();
    if (kind.builders.some(({ lost }) => lost === undefined)) {
      this.#timers.delete(kind);
      return;
    }
    const now = this.#clock.now();
    const since = timer?.since ?? now;
    const stop = this.#clock.after(Math.max(0, since + this.#timeout - now), () => {
      for (let head = kind.head; head !== undefined; head = kind.head)
        this.#refuse(head, new NoBuilderError(allLostMessage(head.job, kind.builders, this.#timeout)));
    });
    this.#timers.set(kind, { since, stop });
  }

  close(): void {
    for (const { stop } of this.#timers.values()) stop();
  }
}
