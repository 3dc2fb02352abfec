import type { BuilderState } from "./builder-state.ts";
import type { Job } from "./job.ts";
import { JobKind } from "./job-kind.ts";
import { placeJob } from "./placement.ts";
import type { QueuedJob } from "./queued-job.ts";
import { defaultRules, type SchedulingRules } from "./scheduling-rules.ts";

/**
 * A job to start, or the time to ask again: infinite until a job comes or ends, or a builder comes
 * back.
 */
export type Decision<Queued extends QueuedJob = QueuedJob> =
  | { readonly queued: Queued; readonly builder: BuilderState }
  | { readonly askAgain: number };

/** Called with the reason for which a job does not start now. */
export type WaitListener<Queued extends QueuedJob> = (queued: Queued, reason: () => string) => void;

/**
 * How many jobs of each decision may wait for a builder that has their inputs: it bounds a
 * decision's time.
 */
const mostHeldBack = 4;

/**
 * Orders the jobs that wait and places them: a list schedule by longest remaining path (R. L.
 * Graham, Bounds on multiprocessing timing anomalies, 1969: at most twice the optimum, and in
 * graphs like StageX's hardly above it). Has neither promises nor clocks. A decision looks at the
 * first job of each kind: its time grows with the logarithm of the number of jobs.
 */
export class JobQueue<Queued extends QueuedJob = QueuedJob> {
  readonly #builders: readonly BuilderState[];
  readonly #rules: SchedulingRules;
  readonly #onWait: WaitListener<Queued> | undefined;
  readonly #kinds = new Map<string, JobKind<Queued>>();
  /** Jobs that wait until another has done the steps that they share, by the steps' name. */
  readonly #parked = new Map<string, Queued[]>();
  #size = 0;
  #added = 0;

  constructor(
    builders: readonly BuilderState[],
    rules: SchedulingRules = defaultRules,
    onWait?: WaitListener<Queued>,
  ) {
    this.#builders = builders;
    this.#rules = rules;
    this.#onWait = onWait;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  get kinds(): Iterable<JobKind<Queued>> {
    return this.#kinds.values();
  }

  /** Returns the kind of a job. */
  kindOf({ job, isExclusive }: Pick<QueuedJob, "job" | "isExclusive">): JobKind<Queued> {
    const name = JSON.stringify([job.platforms, job.memory ?? 0, job.allowedBuilders ?? null, isExclusive]);
    const known = this.#kinds.get(name);
    if (known) return known;
    const kind = new JobKind<Queued>(job, isExclusive, this.#builders, (a, b) => this.#compare(a, b));
    this.#kinds.set(name, kind);
    return kind;
  }

  add(queued: Queued): void {
    queued.order ??= this.#added++;
    queued.isQueued = true;
    this.#size += 1;
    this.kindOf(queued).queue.push(queued);
  }

  /** Takes a job out of the queue. */
  remove(queued: Queued): void {
    if (!queued.isQueued) return;
    queued.isQueued = false;
    this.#size -= 1;
    const kind = this.kindOf(queued);
    if (kind.head === undefined) this.#cancelReservation(kind);
  }

  /** Lets those go on that share steps with this job, which has ended. */
  noteEnded({ shared }: Job): void {
    const parked = shared && this.#parked.get(shared.name);
    if (!parked) return;
    this.#parked.delete(shared.name);
    for (const queued of parked) if (queued.isQueued) this.kindOf(queued).queue.push(queued);
  }

  /**
   * Takes the next job to start at this time out of the queue; the caller makes it occupy its
   * builder.
   */
  next(now: number): Decision<Queued> {
    const heldBack: { kind: JobKind<Queued>; queued: Queued }[] = [];
    try {
      return this.#decide(now, heldBack);
    } finally {
      for (const { kind, queued } of heldBack) kind.queue.push(queued);
    }
  }

  #decide(now: number, heldBack: { kind: JobKind<Queued>; queued: Queued }[]): Decision<Queued> {
    let askAgain = Number.POSITIVE_INFINITY;
    const full = new Set<JobKind<Queued>>();
    for (;;) {
      const kind = this.#mostUrgent(full);
      const queued = kind?.head;
      if (!kind || !queued) return { askAgain };
      const { job } = queued;
      const parked = this.#parked.get(job.shared?.name ?? "");
      if (parked) {
        this.#onWait?.(queued, () => `another job builds ${job.shared?.name}, which it shares`);
        kind.queue.pop();
        parked.push(queued);
        continue;
      }
      const candidates = kind.builders.filter(
        (builder) => isOpenTo(builder, kind) && builder.hasRoom(job, kind.isExclusive),
      );
      if (candidates.length === 0) {
        full.add(kind);
        askAgain = Math.min(askAgain, this.#reserve(kind, now));
        this.#onWait?.(
          queued,
          () => `no builder has room: ${kind.builders.map((builder) => builder.occupancy).join("; ")}`,
        );
        continue;
      }
      const placement = placeJob(queued, kind, candidates, this.#rules.bytesPerSecond, now);
      if ("builder" in placement) {
        this.#take(kind, queued);
        this.#park(job, kind);
        return { queued, builder: placement.builder };
      }
      const { waitsFor } = placement;
      this.#onWait?.(queued, () =>
        waitsFor ? `${waitsFor.name} has its inputs and is free soon` : "it lost the builders that are free",
      );
      if (waitsFor === undefined || heldBack.length < mostHeldBack) {
        kind.queue.pop();
        heldBack.push({ kind, queued });
        askAgain = Math.min(askAgain, placement.askAgain);
      } else full.add(kind);
    }
  }

  #take(kind: JobKind<Queued>, queued: Queued): void {
    kind.queue.pop();
    queued.isQueued = false;
    this.#size -= 1;
    this.#cancelReservation(kind);
  }

  /**
   * Parks the jobs that share steps with this one, unless a builder has done these steps already.
   */
  #park({ shared }: Job, kind: JobKind<Queued>): void {
    if (shared && !kind.builders.some((builder) => builder.hasSteps(shared.name)))
      this.#parked.set(shared.name, []);
  }

  /** Opens the builders that were kept for jobs of this kind to all. */
  #cancelReservation(kind: JobKind<Queued>): void {
    kind.lackingSince = undefined;
    for (const builder of this.#builders) if (builder.reservedFor === kind) builder.reservedFor = undefined;
  }

  /** Returns the kind, not in `full`, whose first job is before all others'. */
  #mostUrgent(full: ReadonlySet<JobKind<Queued>>): JobKind<Queued> | undefined {
    let best: { kind: JobKind<Queued>; head: Queued } | undefined;
    for (const kind of this.#kinds.values()) {
      const head = full.has(kind) ? undefined : kind.head;
      if (head && (!best || this.#compare(head, best.head) < 0)) best = { kind, head };
    }
    return best?.kind;
  }

  /**
   * Empties a builder for jobs that have lacked memory for too long, or were killed for lack of it.
   * @returns the time to ask again
   */
  #reserve(kind: JobKind<Queued>, now: number): number {
    const living = kind.builders.filter((builder) => builder.lost === undefined);
    if (living.some((builder) => builder.reservedFor === kind)) return Number.POSITIVE_INFINITY;
    const lacksSlots = !kind.isExclusive && living.every((builder) => builder.usage >= 1);
    if (kind.lackingSince === undefined && lacksSlots) return Number.POSITIVE_INFINITY;
    kind.lackingSince ??= now;
    const end = kind.lackingSince + (kind.isExclusive ? 0 : this.#rules.memoryWait);
    if (now < end) return end;
    const open = living.filter((builder) => builder.reservedFor === undefined);
    const [emptiest] = open.sort((a, b) => a.usage - b.usage);
    if (emptiest) emptiest.reservedFor = kind;
    return Number.POSITIVE_INFINITY;
  }

  #urgency({ job, arrived }: Queued): number {
    return job.remaining - this.#rules.ageing * arrived;
  }

  /** Sorts the more urgent first; of equal ones the longer, then the one that came first. */
  #compare(a: Queued, b: Queued): number {
    return (
      this.#urgency(b) - this.#urgency(a) ||
      (b.job.seconds ?? 0) - (a.job.seconds ?? 0) ||
      (a.order ?? 0) - (b.order ?? 0)
    );
  }
}

function isOpenTo(builder: BuilderState, kind: object): boolean {
  return builder.reservedFor === undefined || builder.reservedFor === kind;
}
