import type { Job, ScheduledBuilder } from "./job.ts";

/** The size that an input of unknown size counts with: 32 MiB, the order of a library's image. */
const usualBytes = 32 * 2 ** 20;

/** A job on a builder, from its start to its end. */
export type RunningJob = {
  readonly job: Job;
  readonly since: number;
  /** {@link BuilderState.expectedSeconds} at its start. */
  readonly expected: number | undefined;
  /** Whether it has the builder to itself. */
  readonly isExclusive: boolean;
  /** Whether another job was on the builder at the same time. */
  hadCompany: boolean;
};

/** A builder's running jobs, and the content of its cache. */
export class BuilderState {
  readonly builder: ScheduledBuilder;
  /** The reason for which it is out of use; undefined while it works. */
  lost: string | undefined;
  /** The kind of jobs ({@link JobKind}) that it is being emptied for; no other may start here. */
  reservedFor: object | undefined;
  readonly running = new Set<RunningJob>();
  readonly #cached = new Set<string>();
  readonly #steps = new Set<string>();
  /** Bytes that are counted for each of its jobs. */
  readonly #memory = new Map<RunningJob, number>();

  constructor(builder: ScheduledBuilder) {
    this.builder = builder;
  }

  get name(): string {
    return this.builder.name;
  }

  /** Share of the slots that is taken, 0 to 1. */
  get usage(): number {
    return this.running.size / this.builder.slots;
  }

  /** Slots and memory in use, or the reason of its loss: `west: 2 of 2 slots, 12.0 of 16.0 GiB`. */
  get occupancy(): string {
    if (this.lost !== undefined) return `${this.name}: lost (${this.lost})`;
    const { memory, slots } = this.builder;
    const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
    const taken = memory === undefined ? "" : `, ${gib(this.#memoryTaken)} of ${gib(memory)} GiB`;
    const kept = this.reservedFor === undefined ? "" : ", being emptied for a job";
    return `${this.name}: ${this.running.size} of ${slots} slots${taken}${kept}`;
  }

  /** Whether the empty builder has the memory for a job. */
  couldHold({ memory = 0 }: Job): boolean {
    return memory <= (this.builder.memory ?? Number.POSITIVE_INFINITY);
  }

  /** Whether the job could start now. An empty builder has room for any. */
  hasRoom(job: Job, isExclusive: boolean): boolean {
    if (this.lost !== undefined) return false;
    if (this.running.size === 0) return true;
    const isTaken = isExclusive || [...this.running].some((other) => other.isExclusive);
    const limit = this.builder.memory ?? Number.POSITIVE_INFINITY;
    const isFull = this.running.size >= this.builder.slots;
    return !isTaken && !isFull && this.#memoryTaken + this.#memoryOf(job) <= limit;
  }

  get #memoryTaken(): number {
    return [...this.#memory.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * Returns the bytes to count for a job: none where its shared steps, which take the memory, are
   * in the cache.
   */
  #memoryOf({ memory = 0, shared }: Job): number {
    return shared !== undefined && this.#steps.has(shared.name) ? 0 : memory;
  }

  occupy(running: RunningJob): void {
    for (const other of this.running) other.hadCompany = true;
    running.hadCompany = this.running.size > 0;
    this.running.add(running);
    this.#memory.set(running, this.#memoryOf(running.job));
    for (const { digest } of running.job.inputs) this.#cached.add(digest);
  }

  release(running: RunningJob): void {
    this.running.delete(running);
    this.#memory.delete(running);
  }

  /** Notes that its cache has an image, such as one that it has just built. */
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

  /** Takes it out of use. Forgets its cache: the next machine of this name may be a new one. */
  markLost(reason: string): void {
    this.lost = reason;
    this.reservedFor = undefined;
    this.#cached.clear();
    this.#steps.clear();
  }

  /**
   * Returns the seconds that a job takes longer here than with all its inputs and shared steps in
   * the cache.
   */
  missingSeconds({ inputs, shared }: Job, bytesPerSecond: number): number {
    let bytes = 0;
    for (const input of inputs) if (!this.#cached.has(input.digest)) bytes += input.bytes ?? usualBytes;
    const steps = shared === undefined || this.#steps.has(shared.name) ? 0 : shared.seconds;
    return bytes / bytesPerSecond + steps;
  }

  /**
   * Returns the seconds that a job takes here, with the cache as it is; undefined where nothing is
   * known of it.
   */
  expectedSeconds({ seconds, shared }: Job): number | undefined {
    if (seconds === undefined || shared === undefined || !this.#steps.has(shared.name)) return seconds;
    return Math.max(0, seconds - shared.seconds);
  }

  /**
   * Returns the seconds until the first of its jobs is expected to end. A job that outlasts its
   * expectation counts as half done. The end of a job without an expectation is infinitely far.
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
