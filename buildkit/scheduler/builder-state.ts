import type { Job, ScheduledBuilder } from "./job.ts";

/** What an input of unknown size is taken for: 32 MiB, the order of a library's image. */
const usualBytes = 32 * 2 ** 20;

/** A job's place on a builder, from its start to its end. */
export type RunningJob = {
  readonly job: Job;
  readonly since: number;
  /** {@link BuilderState.expectedSeconds} at its start. */
  readonly expected: number | undefined;
  /** Whether it is to have the builder to itself. */
  readonly isAlone: boolean;
  /** Whether another job has been there at the same time. */
  hadCompany: boolean;
};

/** What a builder is doing, and what it has in its cache. */
export class BuilderState {
  readonly builder: ScheduledBuilder;
  /** Why it is out of use; undefined while it works. */
  lost: string | undefined;
  /** The kind of jobs ({@link WaitingJobs}) that it is being emptied for; no other may start here. */
  reservedFor: object | undefined;
  /** When a job ended here last. */
  freedAt = Number.NEGATIVE_INFINITY;
  readonly running = new Set<RunningJob>();
  readonly #cached = new Set<string>();
  readonly #steps = new Set<string>();
  /** Bytes that are counted for each of its jobs. */
  readonly #memory = new Map<RunningJob, number>();

  constructor(builder: ScheduledBuilder) {
    this.builder = builder;
  }

  /** Share of the slots that is taken, 0 to 1. */
  get usage(): number {
    return this.running.size / this.builder.slots;
  }

  /** Whether the job could ever be held, with the builder empty. */
  couldHold({ memory = 0 }: Job): boolean {
    return memory <= (this.builder.memory ?? Number.POSITIVE_INFINITY);
  }

  /** Whether the job could start now. An empty builder has room for any. */
  hasRoom(job: Job, isAlone: boolean): boolean {
    if (this.lost !== undefined) return false;
    if (this.running.size === 0) return true;
    const isTaken = isAlone || [...this.running].some((other) => other.isAlone);
    const limit = this.builder.memory ?? Number.POSITIVE_INFINITY;
    const taken = [...this.#memory.values()].reduce((sum, bytes) => sum + bytes, 0);
    return !isTaken && this.running.size < this.builder.slots && taken + this.#memoryOf(job) <= limit;
  }

  /** What is counted for a job: nothing where the steps that it shares, which take the memory, are in the cache. */
  #memoryOf({ memory = 0, shared }: Job): number {
    return shared !== undefined && this.#steps.has(shared.name) ? 0 : memory;
  }

  occupy(held: RunningJob): void {
    for (const other of this.running) other.hadCompany = true;
    held.hadCompany = this.running.size > 0;
    this.running.add(held);
    this.#memory.set(held, this.#memoryOf(held.job));
    for (const { digest } of held.job.inputs) this.#cached.add(digest);
  }

  release(held: RunningJob, now: number): void {
    this.freedAt = now;
    this.running.delete(held);
    this.#memory.delete(held);
  }

  /** Notes that it has an image, such as one that it has just built. */
  noteCached(digest: string): void {
    this.#cached.add(digest);
  }

  /** Notes that it has done the steps that this job shares with others. */
  noteStepsDone({ shared }: Job): void {
    if (shared) this.#steps.add(shared.name);
  }

  /** Whether shared steps of this name are in its cache. */
  hasSteps(name: string): boolean {
    return this.#steps.has(name);
  }

  /** Takes it out of use. Its cache cannot be counted on: the next machine of this name may be a new one. */
  markLost(reason: string): void {
    this.lost = reason;
    this.reservedFor = undefined;
    this.#cached.clear();
    this.#steps.clear();
  }

  /** Seconds that the job takes longer here than on a builder that has all its inputs, and the steps that it shares, in its cache. */
  missingSeconds({ inputs, shared }: Job, bytesPerSecond: number): number {
    let bytes = 0;
    for (const input of inputs) if (!this.#cached.has(input.digest)) bytes += input.bytes ?? usualBytes;
    const steps = shared === undefined || this.#steps.has(shared.name) ? 0 : shared.seconds;
    return bytes / bytesPerSecond + steps;
  }

  /** Seconds that the job will take here, with what is in the cache; undefined where nothing is known of it. */
  expectedSeconds({ seconds, shared }: Job): number | undefined {
    if (seconds === undefined || shared === undefined || !this.#steps.has(shared.name)) return seconds;
    return Math.max(0, seconds - shared.seconds);
  }

  /**
   * Seconds until the first of its jobs is expected to end. One that has outlasted its expectation is taken to last as long again;
   * of one without, nothing is expected: infinite.
   */
  secondsToFree(now: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { expected = Number.POSITIVE_INFINITY, since } of this.running) {
      const elapsed = now - since;
      least = Math.min(least, elapsed < expected ? expected - elapsed : Math.max(1, elapsed));
    }
    return least;
  }
}
