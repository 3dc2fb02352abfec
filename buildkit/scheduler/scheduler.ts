import { BuilderState } from "./builder-state.ts";
import { type Clock, realClock } from "./clock.ts";
import type { Job, ScheduledBuilder } from "./job.ts";
import { defaultRules, type JobKind, JobQueue, QueuedJob, type SchedulingRules } from "./job-queue.ts";
import { BuilderLostError, NoBuilderError, OutOfMemoryError } from "./scheduler-errors.ts";

export type { Job, JobInput, ScheduledBuilder } from "./job.ts";
export { BuilderLostError, NoBuilderError, OutOfMemoryError } from "./scheduler-errors.ts";

/** What happens in a schedule, for people and for tests. */
export type SchedulerEvent =
  | { readonly kind: "started" | "ended"; readonly builder: string; readonly job: Job }
  | { readonly kind: "lost"; readonly builder: string; readonly reason: string }
  | { readonly kind: "back"; readonly builder: string }
  | { readonly kind: "again"; readonly job: Job; readonly reason: string };

export type SchedulerOptions = {
  /**
   * Asks a lost builder whether it works again; throws where not. Tried 2 s after the loss, and then at intervals that double up to
   * 5 minutes. Without it, a lost builder stays lost.
   */
  readonly probe?: (builder: ScheduledBuilder, signal: AbortSignal) => Promise<unknown>;
  /** Seconds that jobs wait for lost builders, where no other could take them. Default 600. */
  readonly lostBuilderTimeout?: number;
  /** How many builders a job may take with it, or how often it may be killed for want of memory, before it is given up. Default 3. */
  readonly maxAttempts?: number;
  readonly rules?: Partial<SchedulingRules>;
  readonly onEvent?: (event: SchedulerEvent) => void;
  readonly clock?: Clock;
};

const firstProbe = 2;
const longestPause = 300;
const probeLimit = 30;

/**
 * Does a job on a builder. `free` gives its place there to another job before all of it is done: what is left needs the builder no
 * more, and goes on whatever becomes of it.
 */
export type BuilderWork<Result> = (
  builder: ScheduledBuilder,
  signal: AbortSignal,
  free: () => void,
) => Promise<Result>;

/** One who asked for a job. */
type Caller = {
  readonly work: BuilderWork<unknown>;
  readonly signal: AbortSignal;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly stopListening: () => void;
};

/** A job with all who asked for it; the first one's work is done. */
class Request extends QueuedJob {
  readonly callers: Caller[] = [];
  readonly losses: string[] = [];
  /** How often it was killed for want of memory. */
  kills = 0;
}

/** A request on a builder. */
class Run {
  readonly request: Request;
  readonly caller: Caller;
  readonly since: number;
  readonly expected: number | undefined;
  readonly isAlone: boolean;
  hadCompany = false;
  readonly controller = new AbortController();
  /** Whether its place is another's: what is left of its work needs the builder no more. */
  hasLeft = false;

  constructor(request: Request, caller: Caller, since: number, expected: number | undefined) {
    this.request = request;
    this.caller = caller;
    this.since = since;
    this.expected = expected;
    this.isAlone = request.isAlone;
  }

  get job(): Job {
    return this.request.job;
  }
}

/** What is done to get a lost builder back. */
type Recovery = { pause: number; stop: () => void };

/**
 * Which image is built on which builder, and when. Jobs come as the engine finds them ready; of those that wait, the one with the longest
 * remaining path goes first ({@link JobQueue}), to a builder that runs its platforms natively, has a slot and memory for it, and has
 * most of its inputs. A job whose builder is lost ({@link BuilderLostError}) is done again elsewhere; the builder is probed until it is
 * back. One that was killed for want of memory ({@link OutOfMemoryError}) is done again by itself, where there is most. Of two jobs with one
 * key, the second waits for what comes of the first.
 */
export class Scheduler {
  readonly #loads: readonly BuilderState[];
  readonly #waiting: JobQueue<Request>;
  readonly #requests = new Map<string, Request>();
  readonly #runs = new Map<BuilderState, Set<Run>>();
  readonly #recoveries = new Map<BuilderState, Recovery>();
  readonly #stranded = new Map<JobKind<Request>, { since: number; stop: () => void }>();
  readonly #options: SchedulerOptions;
  readonly #clock: Clock;
  #alarm: { at: number; stop: () => void } | undefined;
  #isLooking = false;
  #closed: Error | undefined;

  /** @throws RangeError where two builders have one name, or one has no slot */
  constructor(builders: readonly ScheduledBuilder[], options: SchedulerOptions = {}) {
    const names = new Set(builders.map(({ name }) => name));
    if (names.size < builders.length) throw new RangeError("two builders of the fleet have the same name");
    for (const { name, slots } of builders) {
      if (!(slots >= 1)) throw new RangeError(`builder ${name} has ${slots} slots; it needs one at least`);
    }
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#loads = builders.map((builder) => new BuilderState(builder));
    for (const load of this.#loads) this.#runs.set(load, new Set());
    this.#waiting = new JobQueue(this.#loads, { ...defaultRules, ...options.rules });
  }

  /** How many jobs wait for a builder. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** How many jobs are at work. */
  get running(): number {
    return this.#loads.reduce((sum, { running }) => sum + running.size, 0);
  }

  /** How many jobs the whole fleet does at once, lost builders included. */
  get slots(): number {
    return this.#loads.reduce((sum, { builder }) => sum + builder.slots, 0);
  }

  /** The builders that are lost at present, with the reason. */
  get lost(): ReadonlyMap<string, string> {
    return new Map(
      this.#loads.flatMap(({ builder, lost }) => (lost === undefined ? [] : [[builder.name, lost]])),
    );
  }

  /**
   * Has the job done on a builder, and gives what `work` gives. `work` may be called again on another builder after a BuilderLost; the
   * signal that it gets is aborted by the caller's and, with a BuilderLost as reason, when a probe finds its builder dead. Who gives
   * a key that is being built already gets the result of that work, which must be of the same type.
   * @throws NoBuilder where no builder can do it, or too many were lost with it; else what `work` throws, or the signal's reason.
   * Work that was cancelled is waited for: what it finished in spite of it is its result.
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
    this.#load(builder).noteCached(digest);
  }

  /** Takes a builder out of use, such as one whose machine was given notice; what it is at work on may still finish. */
  markLost(builder: string, reason: string): void {
    this.#lose(this.#load(builder), reason);
  }

  /** Ends the probes, cancels what is at work, and refuses what waits and what comes. */
  close(reason: Error = new Error("the builders have been closed")): void {
    this.#closed = reason;
    this.#alarm?.stop();
    for (const { stop } of this.#recoveries.values()) stop();
    for (const { stop } of this.#stranded.values()) stop();
    for (const request of [...this.#requests.values()]) {
      if (request.isQueued) this.#refuse(request, reason);
    }
    for (const runs of this.#runs.values()) for (const { controller } of runs) controller.abort(reason);
  }

  #load(name: string): BuilderState {
    const load = this.#loads.find(({ builder }) => builder.name === name);
    if (!load) throw new RangeError(`the fleet has no builder ${name}`);
    return load;
  }

  /** The request of this key: a new one, in the queue, where there is none. */
  #requestFor(job: Job): Request {
    const known = this.#requests.get(job.key);
    if (known) return known;
    if (this.#waiting.kindOf({ job, isAlone: false }).loads.length === 0)
      throw new NoBuilderError(this.#impossible(job));
    const request = new Request(job, this.#clock.now());
    this.#requests.set(job.key, request);
    this.#enqueue(request);
    return request;
  }

  #enqueue(request: Request): void {
    this.#waiting.add(request);
    this.#watch(this.#waiting.kindOf(request));
  }

  /** A caller wants it no longer. Its work, where it is the one being done, is cancelled and waited for. */
  #leave(request: Request, caller: Caller): void {
    const run = [...this.#runs.values()].flatMap((runs) => [...runs]).find((each) => each.caller === caller);
    if (run) {
      run.controller.abort(caller.signal.reason);
      return;
    }
    request.callers.splice(request.callers.indexOf(caller), 1);
    caller.stopListening();
    caller.reject(caller.signal.reason);
    if (request.callers.length > 0 || !request.isQueued) return;
    this.#waiting.remove(request);
    this.#requests.delete(request.job.key);
    this.#look();
  }

  /** Looks for something to start, after all that happens at this moment has happened. */
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
      const decision = this.#waiting.next(this.#clock.now());
      if ("askAgain" in decision) {
        this.#lookAt(decision.askAgain);
        return;
      }
      void this.#perform(decision.waiting, decision.load);
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

  async #perform(request: Request, load: BuilderState): Promise<void> {
    const [caller] = request.callers;
    if (!caller) return;
    const { builder } = load;
    const run = new Run(request, caller, this.#clock.now(), load.expectedSeconds(request.job));
    load.occupy(run);
    this.#runs.get(load)?.add(run);
    this.#tell({ kind: "started", builder: builder.name, job: request.job });
    const free = () => {
      if (run.hasLeft) return;
      load.noteStepsDone(request.job);
      this.#vacate(run, load);
      this.#look();
    };
    try {
      const result = await caller.work(builder, run.controller.signal, free);
      free();
      if (load.lost === undefined) this.#recoveries.delete(load);
      this.#settle(request, (each) => each.resolve(result));
    } catch (error) {
      this.#vacate(run, load);
      this.#failed(run, load, error);
    } finally {
      this.#runs.get(load)?.delete(run);
    }
    this.#look();
  }

  /** Gives the place to another job. Its work may still go on, and be cancelled. */
  #vacate(run: Run, load: BuilderState): void {
    if (run.hasLeft) return;
    run.hasLeft = true;
    const now = this.#clock.now();
    load.release(run, now);
    this.#waiting.noteEnded(run.job, now - run.since, run.expected);
    this.#tell({ kind: "ended", builder: load.builder.name, job: run.job });
  }

  #failed(run: Run, load: BuilderState, error: unknown): void {
    const { request, caller, controller } = run;
    const loss = [controller.signal.reason, error].find((reason) => reason instanceof BuilderLostError);
    if (loss && !this.#closed) this.#lose(load, loss.message);
    if (caller.signal.aborted) {
      request.callers.shift();
      caller.stopListening();
      caller.reject(caller.signal.reason);
      if (request.callers.length > 0) this.#enqueue(request);
      else this.#requests.delete(request.job.key);
    } else if (loss && !this.#closed) this.#again(request, load, loss.message);
    else if (error instanceof OutOfMemoryError && !this.#closed) this.#againAlone(run, load, error);
    else this.#refuse(request, this.#closed ?? error);
  }

  /** Puts a job that was killed for want of memory back in the queue, unless it can't have more than it had, or was killed too often. */
  #againAlone({ request, hadCompany }: Run, load: BuilderState, { cause }: OutOfMemoryError): void {
    const alone = this.#waiting.kindOf({ job: request.job, isAlone: true });
    request.kills += 1;
    // The largest builder may come and go: each time it is back there is more to be had than where the job was.
    const isGivenUp = request.kills >= (this.#options.maxAttempts ?? 3);
    if (isGivenUp || (!hadCompany && alone.loads.includes(load))) {
      this.#refuse(request, cause);
      return;
    }
    request.isAlone = true;
    this.#tell({ kind: "again", job: request.job, reason: cause.message });
    this.#enqueue(request);
  }

  /** Puts a job whose builder was lost back in the queue, unless it has lost too many. */
  #again(request: Request, load: BuilderState, reason: string): void {
    const { job, losses, lostOn } = request;
    losses.push(`${load.builder.name}: ${reason}`);
    lostOn.add(load.builder.name);
    if (losses.length >= (this.#options.maxAttempts ?? 3)) {
      const text = `${job.image}: given up, as ${losses.length} builders were lost with it: ${losses.join("; ")}`;
      this.#refuse(
        request,
        new NoBuilderError(`${text}. It may be the one that breaks them: look at its memory and disk.`),
      );
      return;
    }
    this.#tell({ kind: "again", job, reason });
    this.#enqueue(request);
  }

  #refuse(request: Request, reason: unknown): void {
    this.#waiting.remove(request);
    this.#settle(request, (each) => each.reject(reason));
  }

  #settle(request: Request, tell: (caller: Caller) => void): void {
    this.#requests.delete(request.job.key);
    for (const caller of request.callers) {
      caller.stopListening();
      tell(caller);
    }
  }

  #lose(load: BuilderState, reason: string): void {
    if (load.lost !== undefined) return;
    load.markLost(reason);
    this.#tell({ kind: "lost", builder: load.builder.name, reason });
    // One that is lost again before it has done anything is asked less and less often.
    const recovery = this.#recoveries.get(load) ?? { pause: firstProbe, stop: () => {} };
    this.#recoveries.set(load, recovery);
    if (this.#options.probe) this.#probeLater(load, recovery);
    for (const kind of this.#waiting.kinds) this.#watch(kind);
    this.#look();
  }

  #probeLater(load: BuilderState, recovery: Recovery): void {
    recovery.stop = this.#clock.after(recovery.pause, () => void this.#probe(load, recovery));
    recovery.pause = Math.min(longestPause, recovery.pause * 2);
  }

  async #probe(load: BuilderState, recovery: Recovery): Promise<void> {
    const controller = new AbortController();
    const silence = Promise.withResolvers<never>();
    const giveUp = (reason: Error) => {
      controller.abort(reason);
      silence.reject(reason);
    };
    const stopTimer = this.#clock.after(probeLimit, () =>
      giveUp(new Error(`no answer within ${probeLimit} s`)),
    );
    recovery.stop = () => {
      stopTimer();
      giveUp(new Error("closed"));
    };
    try {
      await Promise.race([this.#options.probe?.(load.builder, controller.signal), silence.promise]);
      if (!this.#closed) this.#recover(load);
    } catch (error) {
      if (this.#closed) return;
      const reason = error instanceof Error ? error.message : String(error);
      load.markLost(reason);
      for (const run of this.#runs.get(load) ?? [])
        if (!run.hasLeft) run.controller.abort(new BuilderLostError(reason));
      this.#probeLater(load, recovery);
    } finally {
      stopTimer();
    }
  }

  #recover(load: BuilderState): void {
    load.lost = undefined;
    this.#tell({ kind: "back", builder: load.builder.name });
    for (const kind of this.#waiting.kinds) this.#watch(kind);
    this.#look();
  }

  /** Sees to it that jobs do not wait for ever where none of their builders is left. */
  #watch(kind: JobKind<Request>): void {
    const stranded = this.#stranded.get(kind);
    if (kind.loads.some(({ lost }) => lost === undefined)) {
      stranded?.stop();
      this.#stranded.delete(kind);
      return;
    }
    const now = this.#clock.now();
    const since = stranded?.since ?? now;
    const patience = this.#options.probe ? (this.#options.lostBuilderTimeout ?? 600) : 0;
    stranded?.stop();
    const stop = this.#clock.after(Math.max(0, since + patience - now), () => this.#strand(kind));
    this.#stranded.set(kind, { since, stop });
  }

  /** Lets emulators have the jobs, as no machine of their own comes back; with none, refuses them. */
  #strand(kind: JobKind<Request>): void {
    if (kind.emulated.some(({ lost }) => lost === undefined) && !kind.emulating) {
      kind.emulating = true;
      this.#stranded.delete(kind);
      this.#look();
      return;
    }
    for (let head = kind.head; head !== undefined; head = kind.head)
      this.#refuse(head, new NoBuilderError(this.#deserted(head.job, kind)));
  }

  #impossible({ image, platforms, allowedBuilders: among }: Job): string {
    const offered = this.#loads.map(({ builder }) => `${builder.name} (${builder.platforms.join(", ")})`);
    const wanted = [
      ...(platforms.length === 0 ? [] : [platforms.join(" and ")]),
      ...(among === undefined ? [] : [`one of ${among.join(", ")}`]),
    ];
    const both =
      platforms.length > 1
        ? " One builder must run all of these; an emulator counts, but not for linux/386."
        : "";
    return (
      `${image}: no builder of the fleet can build it: it needs ${wanted.join(", ")}; ` +
      `there is ${offered.join("; ") || "none at all"}. Add one that can to the fleet.${both}`
    );
  }

  #deserted({ image, platforms }: Job, { native, emulated }: JobKind<Request>): string {
    const reasons = [...native, ...emulated].map(({ builder, lost }) => `${builder.name}: ${lost}`);
    const waited = this.#options.probe ? ` for ${this.#options.lostBuilderTimeout ?? 600} s` : "";
    return (
      `${image}: no builder for ${platforms.join(" and ")} has been there${waited}: ${reasons.join("; ")}. ` +
      `Mend one and run the command again; what is built already is kept.`
    );
  }

  #tell(event: SchedulerEvent): void {
    this.#options.onEvent?.(event);
  }
}
