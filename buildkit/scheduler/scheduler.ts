import { isDebugging } from "../../lib/debug-log.ts";
import { BuilderRecovery } from "./builder-recovery.ts";
import { BuilderState } from "./builder-state.ts";
import { type Clock, realClock } from "./clock.ts";
import type { Job, ScheduledBuilder } from "./job.ts";
import { JobQueue } from "./job-queue.ts";
import { type BuilderWork, type Caller, JobRequest, JobRun } from "./job-request.ts";
import { impossibleMessage, tooManyLossesMessage } from "./no-builder-message.ts";
import { BuilderLostError, NoBuilderError, OutOfMemoryError } from "./scheduler-errors.ts";
import type { SchedulerEvent } from "./scheduler-event.ts";
import { logEvent, logStart, logWait } from "./scheduler-log.ts";
import type { SchedulerOptions } from "./scheduler-options.ts";
import { defaultRules, type SchedulingRules } from "./scheduling-rules.ts";
import { StrandedJobs } from "./stranded-jobs.ts";

export type { Job, ScheduledBuilder } from "./job.ts";
export { BuilderLostError, NoBuilderError, OutOfMemoryError } from "./scheduler-errors.ts";
export type { SchedulerEvent } from "./scheduler-event.ts";
export type { SchedulerOptions } from "./scheduler-options.ts";

/**
 * Decides which image is built on which builder, and when. Jobs come as the engine finds them
 * ready.
 *
 * - Of the jobs that wait, the one with the longest remaining path goes first ({@link JobQueue}).
 * - It goes to a builder that runs its platforms natively, has a slot and memory for it, and has
 *   most of its inputs.
 * - A job whose builder is lost ({@link BuilderLostError}) is done again elsewhere. The builder is
 *   probed until it is back.
 * - A job that was killed for lack of memory ({@link OutOfMemoryError}) gets the largest builder to
 *   itself.
 * - Of two jobs with one key, the second gets the result of the first.
 */
export class Scheduler {
  readonly #builders: readonly BuilderState[];
  readonly #queue: JobQueue<JobRequest>;
  readonly #requests = new Map<string, JobRequest>();
  readonly #runs = new Map<BuilderState, Set<JobRun>>();
  readonly #recovery: BuilderRecovery | undefined;
  readonly #stranded: StrandedJobs<JobRequest>;
  readonly #options: SchedulerOptions;
  readonly #maxAttempts: number;
  readonly #rules: SchedulingRules;
  readonly #clock: Clock;
  #alarm: { at: number; stop: () => void } | undefined;
  #isLooking = false;
  #closed: Error | undefined;

  /** @throws RangeError where two builders have one name, or one has no slot */
  constructor(builders: readonly ScheduledBuilder[], options: SchedulerOptions = {}) {
    const names = new Set(builders.map(({ name }) => name));
    if (names.size < builders.length) throw new RangeError("two builders of the fleet have the same name");
    for (const { name, slots } of builders)
      if (!(slots >= 1)) throw new RangeError(`builder ${name} has ${slots} slots; it needs one at least`);
    this.#options = options;
    this.#maxAttempts = options.maxAttempts ?? 3;
    this.#clock = options.clock ?? realClock;
    this.#builders = builders.map((builder) => new BuilderState(builder));
    for (const builder of this.#builders) this.#runs.set(builder, new Set());
    this.#rules = { ...defaultRules, ...options.rules };
    this.#queue = new JobQueue(this.#builders, this.#rules, isDebugging() ? logWait : undefined);
    const lostTimeout = options.probe ? (options.lostBuilderTimeout ?? 600) : 0;
    this.#stranded = new StrandedJobs(this.#clock, lostTimeout, (request, reason) =>
      this.#refuse(request, reason),
    );
    this.#recovery =
      options.probe &&
      new BuilderRecovery(options.probe, this.#clock, {
        onBack: (builder) => this.#markBack(builder),
        onFailure: (builder, reason) => this.#noteProbeFailure(builder, reason),
      });
  }

  /** How many jobs wait for a builder. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** How many jobs occupy a slot. */
  get running(): number {
    return this.#builders.reduce((sum, { running }) => sum + running.size, 0);
  }

  /** How many jobs the whole fleet does at once, lost builders included. */
  get slots(): number {
    return this.#builders.reduce((sum, { builder }) => sum + builder.slots, 0);
  }

  /** The builders that are lost at present, with the reason. */
  get lost(): ReadonlyMap<string, string> {
    return new Map(
      this.#builders.flatMap(({ name, lost }) => (lost === undefined ? [] : [[name, lost] as const])),
    );
  }

  /**
   * Has the job done on a builder, and returns the result of `work`. `work` may be called again on
   * another builder after a BuilderLostError. Its signal is aborted by the caller's and, with a
   * BuilderLostError as reason, when a probe finds its builder dead. A caller with a key that is
   * being built gets the result of that work, which must have the same type.
   * @throws NoBuilderError where no builder can do it, or too many were lost with it; else the
   * error of `work`, or the signal's reason. Cancelled work is waited for: if it finishes
   * nevertheless, its result counts.
   */
  run<Result>(job: Job, work: BuilderWork<Result>, signal: AbortSignal): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#closed) throw this.#closed;
      const request = this.#requestFor(job);
      const leave = () => this.#leave(request, caller);
      signal.addEventListener("abort", leave, { once: true });
      const stopListening = () => signal.removeEventListener("abort", leave);
      const caller: Caller = {
        ...{ work, signal, reject, stopListening },
        resolve: (result) => resolve(result as Result),
      };
      request.callers.push(caller);
      this.#look();
    });
  }

  /** Notes that a builder's cache has an image, such as one that it has just built. */
  noteCached(builder: string, digest: string): void {
    this.#builder(builder).noteCached(digest);
  }

  /**
   * Takes a builder out of use, such as one whose machine was given notice. Its running jobs may
   * still finish.
   */
  markLost(builder: string, reason: string): void {
    this.#markLost(this.#builder(builder), reason);
  }

  /** Ends the probes, cancels running jobs, and refuses waiting and further ones. */
  close(reason: Error = new Error("the builders have been closed")): void {
    this.#closed = reason;
    this.#alarm?.stop();
    this.#recovery?.close();
    this.#stranded.close();
    for (const request of [...this.#requests.values()]) if (request.isQueued) this.#refuse(request, reason);
    for (const runs of this.#runs.values()) for (const { controller } of runs) controller.abort(reason);
  }

  #builder(name: string): BuilderState {
    const found = this.#builders.find((builder) => builder.name === name);
    if (!found) throw new RangeError(`the fleet has no builder ${name}`);
    return found;
  }

  /** Returns the request of this key: a new one, in the queue, where there is none. */
  #requestFor(job: Job): JobRequest {
    const known = this.#requests.get(job.key);
    if (known) return known;
    if (this.#queue.kindOf({ job, isExclusive: false }).builders.length === 0)
      throw new NoBuilderError(impossibleMessage(job, this.#builders));
    const request = new JobRequest(job, this.#clock.now());
    this.#requests.set(job.key, request);
    this.#enqueue(request);
    return request;
  }

  #enqueue(request: JobRequest): void {
    this.#queue.add(request);
    this.#stranded.check(this.#queue.kindOf(request));
  }

  /** Removes a caller. Its work, where it is running, is cancelled and waited for. */
  #leave(request: JobRequest, caller: Caller): void {
    const run = [...this.#runs.values()].flatMap((runs) => [...runs]).find((each) => each.caller === caller);
    if (run) {
      run.controller.abort(caller.signal.reason);
      return;
    }
    request.callers.splice(request.callers.indexOf(caller), 1);
    caller.stopListening();
    caller.reject(caller.signal.reason);
    if (request.callers.length > 0 || !request.isQueued) return;
    this.#queue.remove(request);
    this.#requests.delete(request.job.key);
    this.#look();
  }

  /** Looks for jobs to start, after all that happens at this moment has happened. */
  #look(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    queueMicrotask(() => {
      this.#isLooking = false;
      if (!this.#closed) this.#startAll();
    });
  }

  #startAll(): void {
    for (;;) {
      const decision = this.#queue.next(this.#clock.now());
      if ("askAgain" in decision) {
        this.#lookAt(decision.askAgain);
        return;
      }
      void this.#perform(decision.queued, decision.builder);
    }
  }

  /** Looks again at this time, or sooner. */
  #lookAt(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.#alarm && this.#alarm.at <= at)) return;
    this.#alarm?.stop();
    const stop = this.#clock.after(Math.max(0, at - this.#clock.now()), () => {
      this.#alarm = undefined;
      this.#look();
    });
    this.#alarm = { at, stop };
  }

  async #perform(request: JobRequest, builder: BuilderState): Promise<void> {
    const [caller] = request.callers;
    if (!caller) return;
    const { job } = request;
    const run = new JobRun(request, caller, this.#clock.now(), builder.expectedSeconds(job));
    if (isDebugging()) logStart(run, builder, this.#queue.size, this.#rules);
    builder.occupy(run);
    this.#runs.get(builder)?.add(run);
    this.#emit({ kind: "started", builder: builder.name, job });
    const free = () => {
      if (run.hasLeft) return;
      builder.noteStepsDone(job);
      this.#vacate(run, builder);
      this.#look();
    };
    try {
      const result = await caller.work(builder.builder, run.controller.signal, free);
      free();
      if (builder.lost === undefined) this.#recovery?.noteWorking(builder);
      this.#settle(request, (each) => each.resolve(result));
    } catch (error) {
      this.#vacate(run, builder);
      this.#handleFailure(run, builder, error);
    } finally {
      this.#runs.get(builder)?.delete(run);
    }
    this.#look();
  }

  /** Gives the slot to another job. Its work may still go on, and be cancelled. */
  #vacate(run: JobRun, builder: BuilderState): void {
    if (run.hasLeft) return;
    run.hasLeft = true;
    builder.release(run);
    this.#queue.noteEnded(run.job);
    this.#emit({ kind: "ended", builder: builder.name, job: run.job });
  }

  #handleFailure(run: JobRun, builder: BuilderState, error: unknown): void {
    const { request, caller, controller } = run;
    const loss = [controller.signal.reason, error].find((reason) => reason instanceof BuilderLostError);
    if (loss && !this.#closed) this.#markLost(builder, loss.message);
    if (caller.signal.aborted) {
      request.callers.shift();
      caller.stopListening();
      caller.reject(caller.signal.reason);
      if (request.callers.length > 0) this.#enqueue(request);
      else this.#requests.delete(request.job.key);
    } else if (loss && !this.#closed) this.#requeueAfterLoss(request, builder, loss.message);
    else if (error instanceof OutOfMemoryError && !this.#closed) this.#requeueExclusive(run, builder, error);
    else this.#refuse(request, this.#closed ?? error);
  }

  /**
   * Requeues a job that was killed, unless there is no more memory than it had, or it was killed
   * too often.
   */
  #requeueExclusive(
    { request, hadCompany }: JobRun,
    builder: BuilderState,
    { cause }: OutOfMemoryError,
  ): void {
    const exclusive = this.#queue.kindOf({ job: request.job, isExclusive: true });
    request.kills += 1;
    // The largest builder may come and go: each time it is back it has more than the one where the
    // job was.
    const isGivenUp = request.kills >= this.#maxAttempts;
    if (isGivenUp || (!hadCompany && exclusive.builders.includes(builder))) {
      this.#refuse(request, cause);
      return;
    }
    request.isExclusive = true;
    this.#requeue(request, cause.message);
  }

  /** Requeues a job whose builder was lost, unless too many were. */
  #requeueAfterLoss(request: JobRequest, { name }: BuilderState, reason: string): void {
    request.losses.push(`${name}: ${reason}`);
    request.lostOn.add(name);
    if (request.losses.length >= this.#maxAttempts)
      this.#refuse(request, new NoBuilderError(tooManyLossesMessage(request.job, request.losses)));
    else this.#requeue(request, reason);
  }

  #requeue(request: JobRequest, reason: string): void {
    this.#emit({ kind: "requeued", job: request.job, reason });
    this.#enqueue(request);
  }

  #refuse(request: JobRequest, reason: unknown): void {
    this.#queue.remove(request);
    this.#settle(request, (each) => each.reject(reason));
  }

  #settle(request: JobRequest, answer: (caller: Caller) => void): void {
    this.#requests.delete(request.job.key);
    for (const caller of request.callers) {
      caller.stopListening();
      answer(caller);
    }
  }

  #markLost(builder: BuilderState, reason: string): void {
    if (builder.lost !== undefined) return;
    builder.markLost(reason);
    this.#emit({ kind: "lost", builder: builder.name, reason });
    this.#recovery?.start(builder);
    for (const kind of this.#queue.kinds) this.#stranded.check(kind);
    this.#look();
  }

  #markBack(builder: BuilderState): void {
    builder.lost = undefined;
    this.#emit({ kind: "back", builder: builder.name });
    for (const kind of this.#queue.kinds) this.#stranded.check(kind);
    this.#look();
  }

  /** Cancels the running jobs of a builder that a probe has found dead. */
  #noteProbeFailure(builder: BuilderState, reason: string): void {
    builder.markLost(reason);
    for (const run of this.#runs.get(builder) ?? [])
      if (!run.hasLeft) run.controller.abort(new BuilderLostError(reason));
  }

  #emit(event: SchedulerEvent): void {
    if (isDebugging()) logEvent(event);
    this.#options.onEvent?.(event);
  }
}
