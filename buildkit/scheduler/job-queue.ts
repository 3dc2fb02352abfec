import TinyQueue from "tinyqueue";
import type { BuilderState } from "./builder-state.ts";
import type { Job } from "./job.ts";
import { matchPlatforms } from "./platform-match.ts";

/** What decides on who goes first, and where. */
export type SchedulingRules = {
  /** Bytes a second at which inputs reach a builder. Default 100 MB/s: a gigabit line, or BuildKit's own tunnel. */
  readonly bytesPerSecond: number;
  /**
   * Seconds of remaining path that a second of waiting is worth. Small, so that the longest path decides while a graph is built; not
   * nothing, so that nobody waits for ever behind an endless row of more urgent ones.
   */
  readonly ageing: number;
  /** Seconds for which a job that lacks memory on every builder lets others pass; then one is emptied for it. */
  readonly memoryPatience: number;
  /**
   * After an image is done, the engine takes a moment to ask for those that are built from it, and one of them may be the most urgent of
   * all. So a job leaves a slot that has just become free for this share of its own expected time, and no longer than that many seconds.
   * Where jobs have ended sooner than expected so far, its own is taken to be shorter in the same measure.
   */
  readonly courtesy: { readonly share: number; readonly longest: number };
};

export const defaultRules: SchedulingRules = {
  bytesPerSecond: 100e6,
  ageing: 0.05,
  memoryPatience: 300,
  courtesy: { share: 0.005, longest: 0.25 },
};

/** A job in the queue. */
export class QueuedJob {
  readonly job: Job;
  /** When it came first; a job that lost its builder keeps its turn. */
  readonly arrived: number;
  /** Names of the builders that were lost with it. */
  readonly lostOn = new Set<string>();
  /** Whether it is to be done by itself, where there is most memory, as it has been killed for want of it. */
  isAlone = false;
  /** Its place among all that ever came into the queue. */
  order: number | undefined;
  /** False once it is taken out, though its heap may still hold it. */
  isQueued = false;

  constructor(job: Job, arrived: number) {
    this.job = job;
    this.arrived = arrived;
  }
}

/** What to do now: start a job, or ask again at this time (infinite: not before a job comes or ends, or a builder comes back). */
export type Decision<Waiting extends QueuedJob = QueuedJob> =
  | { readonly waiting: Waiting; readonly load: BuilderState }
  | { readonly askAgain: number };

/** How many jobs of each decision may hold out for a builder that has their inputs. */
const longestHold = 4;

/** Expectations are not so exact that it would be worth asking again sooner, in seconds. */
const leastWait = 0.1;

/** Sending less than this many seconds' worth of inputs is not worth a thought. */
const worthAThought = 1;

/** Jobs that the same builders can take: those of the same platforms and memory, allowed on the same builders. */
export class JobKind<Waiting extends QueuedJob> {
  readonly isAlone: boolean;
  readonly native: readonly BuilderState[];
  readonly emulated: readonly BuilderState[];
  readonly queue: TinyQueue<Waiting>;
  /** Whether emulators are taken as well, as no machine of that platform is to be had. */
  emulating: boolean;
  /** Since when memory has been lacking, where it is. */
  lackingSince: number | undefined;

  constructor(
    job: Job,
    isAlone: boolean,
    loads: readonly BuilderState[],
    compare: (a: Waiting, b: Waiting) => number,
  ) {
    const allowed = loads.filter(({ builder }) => job.allowedBuilders?.includes(builder.name) ?? true);
    const fitting = (fit: string) => {
      const fits = allowed.filter(({ builder }) => matchPlatforms(builder.platforms, job.platforms) === fit);
      const large = fits.filter((load) => load.couldHold(job));
      return large.length > 0 ? large : withMostMemory(fits);
    };
    this.isAlone = isAlone;
    this.native = fitting("native");
    this.emulated = fitting("emulated");
    this.emulating = this.native.length === 0;
    this.queue = new TinyQueue([], compare);
  }

  /** The builders that it may go to, the better ones first. */
  get loads(): readonly BuilderState[] {
    const all = this.emulating ? [...this.native, ...this.emulated] : this.native;
    if (!this.isAlone) return all;
    const living = all.filter(({ lost }) => lost === undefined);
    return living.length > 0 ? withMostMemory(living) : all;
  }

  /** The first in the queue. */
  get head(): Waiting | undefined {
    for (;;) {
      const head = this.queue.peek();
      if (head?.isQueued !== false) return head;
      this.queue.pop();
    }
  }
}

/**
 * The jobs that wait, and which of them goes where next: list scheduling by the longest remaining path (R. L. Graham, Bounds on
 * multiprocessing timing anomalies, 1969: never more than twice the optimum, and in graphs like StageX's hardly above it). Pure but
 * for what it is told; it knows neither promises nor clocks. A decision looks at the first job of each kind, so that its time does not
 * grow with the number that waits, but for a heap's logarithm.
 */
export class JobQueue<Waiting extends QueuedJob = QueuedJob> {
  readonly #loads: readonly BuilderState[];
  readonly #rules: SchedulingRules;
  readonly #kinds = new Map<string, JobKind<Waiting>>();
  /** Jobs that wait until the steps that they share have been done by another, by the steps' name. */
  readonly #parked = new Map<string, Waiting[]>();
  #size = 0;
  #added = 0;
  /** Seconds of all jobs that have ended and of which something was expected. */
  readonly #past = { expected: 0, taken: 0 };

  constructor(loads: readonly BuilderState[], rules: SchedulingRules = defaultRules) {
    this.#loads = loads;
    this.#rules = rules;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  get kinds(): Iterable<JobKind<Waiting>> {
    return this.#kinds.values();
  }

  /** The kind that the job is of. */
  kindOf({ job, isAlone }: Pick<QueuedJob, "job" | "isAlone">): JobKind<Waiting> {
    const name = JSON.stringify([job.platforms, job.memory ?? 0, job.allowedBuilders ?? null, isAlone]);
    const known = this.#kinds.get(name);
    if (known) return known;
    const kind = new JobKind<Waiting>(job, isAlone, this.#loads, (a, b) => this.#compare(a, b));
    this.#kinds.set(name, kind);
    return kind;
  }

  add(waiting: Waiting): void {
    waiting.order ??= this.#added++;
    waiting.isQueued = true;
    this.#size += 1;
    this.kindOf(waiting).queue.push(waiting);
  }

  /** Takes a job out of the queue. */
  remove(waiting: Waiting): void {
    if (!waiting.isQueued) return;
    waiting.isQueued = false;
    this.#size -= 1;
    const kind = this.kindOf(waiting);
    if (kind.head === undefined) this.#settle(kind);
  }

  /**
   * Lets those go on that share steps with this job, which has ended.
   * @param taken seconds
   * @param expected the same, as it was foretold
   */
  noteEnded({ shared }: Job, taken: number, expected: number | undefined): void {
    if (expected !== undefined) {
      this.#past.taken += taken;
      this.#past.expected += expected;
    }
    const parked = shared && this.#parked.get(shared.name);
    if (!parked) return;
    this.#parked.delete(shared.name);
    for (const waiting of parked) if (waiting.isQueued) this.kindOf(waiting).queue.push(waiting);
  }

  /** The next job to start at this time, taken out of the queue; the caller makes it occupy its builder. */
  next(now: number): Decision<Waiting> {
    const heldOut: { kind: JobKind<Waiting>; waiting: Waiting }[] = [];
    try {
      return this.#decide(now, heldOut);
    } finally {
      for (const { kind, waiting } of heldOut) kind.queue.push(waiting);
    }
  }

  #decide(now: number, heldOut: { kind: JobKind<Waiting>; waiting: Waiting }[]): Decision<Waiting> {
    let askAgain = Number.POSITIVE_INFINITY;
    const full = new Set<JobKind<Waiting>>();
    for (;;) {
      const kind = this.#mostUrgent(full);
      const waiting = kind?.head;
      if (!kind || !waiting) return { askAgain };
      const parked = this.#parked.get(waiting.job.shared?.name ?? "");
      if (parked) {
        kind.queue.pop();
        parked.push(waiting);
        continue;
      }
      const candidates = kind.loads.filter(
        (load) => isFree(load, kind) && load.hasRoom(waiting.job, kind.isAlone),
      );
      if (candidates.length === 0) {
        full.add(kind);
        askAgain = Math.min(askAgain, this.#reserve(kind, now));
        continue;
      }
      const courteous = this.#courteousUntil(waiting, candidates);
      if (now < courteous) return { askAgain: Math.min(askAgain, courteous) };
      const choice = this.#choose(waiting, kind, candidates, now);
      if ("load" in choice) {
        this.#take(kind, waiting);
        this.#park(waiting.job, kind);
        return { waiting, load: choice.load };
      }
      if (choice.askAgain === Number.POSITIVE_INFINITY || heldOut.length < longestHold) {
        kind.queue.pop();
        heldOut.push({ kind, waiting });
        askAgain = Math.min(askAgain, choice.askAgain);
      } else full.add(kind);
    }
  }

  /** When the job may take the first of these builders. */
  #courteousUntil({ job: { seconds = 0 } }: Waiting, candidates: readonly BuilderState[]): number {
    const { share, longest } = this.#rules.courtesy;
    const { taken, expected } = this.#past;
    const likely = expected > taken ? seconds * (taken / expected) : seconds;
    return Math.min(...candidates.map(({ freedAt }) => freedAt)) + Math.min(longest, share * likely);
  }

  #take(kind: JobKind<Waiting>, waiting: Waiting): void {
    kind.queue.pop();
    waiting.isQueued = false;
    this.#size -= 1;
    this.#settle(kind);
  }

  /** Has the others that share steps with this job wait for it, unless a builder has done them already. */
  #park({ shared }: Job, kind: JobKind<Waiting>): void {
    if (shared && !kind.loads.some((load) => load.hasSteps(shared.name))) this.#parked.set(shared.name, []);
  }

  /** Gives back what was kept for jobs of this kind. */
  #settle(kind: JobKind<Waiting>): void {
    kind.lackingSince = undefined;
    for (const load of this.#loads) if (load.reservedFor === kind) load.reservedFor = undefined;
  }

  /** The kind, not in `full`, whose first job is before all others'. */
  #mostUrgent(full: ReadonlySet<JobKind<Waiting>>): JobKind<Waiting> | undefined {
    let best: { kind: JobKind<Waiting>; head: Waiting } | undefined;
    for (const kind of this.#kinds.values()) {
      const head = full.has(kind) ? undefined : kind.head;
      if (head && (!best || this.#compare(head, best.head) < 0)) best = { kind, head };
    }
    return best?.kind;
  }

  /** A builder for the job, out of those that have room; or when to ask again, where it is better off waiting for another one. */
  #choose(
    waiting: Waiting,
    kind: JobKind<Waiting>,
    candidates: readonly BuilderState[],
    now: number,
  ): { load: BuilderState } | { askAgain: number } {
    const untried = (load: BuilderState) => !waiting.lostOn.has(load.builder.name);
    const fresh = candidates.filter(untried);
    const isElsewhere = kind.loads.some((load) => load.lost === undefined && untried(load));
    if (fresh.length === 0 && isElsewhere) return { askAgain: Number.POSITIVE_INFINITY };
    const [first, ...others] = fresh.length > 0 ? fresh : candidates;
    if (first === undefined) return { askAgain: Number.POSITIVE_INFINITY };
    const { bytesPerSecond } = this.#rules;
    let [load, seconds] = [first, first.missingSeconds(waiting.job, bytesPerSecond)];
    for (const other of others) {
      if (this.#isEmulated(other, kind) && !this.#isEmulated(load, kind)) continue;
      const there = other.missingSeconds(waiting.job, bytesPerSecond);
      if (there < seconds || (there === seconds && other.usage < load.usage))
        [load, seconds] = [other, there];
    }
    const wait = this.#worthwhileWait(waiting, kind, seconds, now);
    return wait === undefined ? { load } : { askAgain: now + Math.max(leastWait, wait) };
  }

  #isEmulated(load: BuilderState, kind: JobKind<Waiting>): boolean {
    return kind.emulated.includes(load);
  }

  /** The seconds until a busy builder is free that has so much more in its cache that the job is done sooner there; undefined: none is. */
  #worthwhileWait(
    { job, lostOn }: Waiting,
    kind: JobKind<Waiting>,
    here: number,
    now: number,
  ): number | undefined {
    const { bytesPerSecond } = this.#rules;
    if (here <= worthAThought) return undefined;
    let least: number | undefined;
    for (const load of kind.loads) {
      if (load.lost !== undefined || load.hasRoom(job, kind.isAlone) || lostOn.has(load.builder.name))
        continue;
      const wait = load.secondsToFree(now);
      if (wait + load.missingSeconds(job, bytesPerSecond) < here && wait < (least ?? here)) least = wait;
    }
    return least;
  }

  /** Empties a builder for jobs that have lacked memory for too long, or were killed for want of it; else says when that will be. */
  #reserve(kind: JobKind<Waiting>, now: number): number {
    const living = kind.loads.filter((load) => load.lost === undefined);
    if (living.some((load) => load.reservedFor === kind)) return Number.POSITIVE_INFINITY;
    const isForWantOfSlots = !kind.isAlone && living.every((load) => load.usage >= 1);
    if (kind.lackingSince === undefined && isForWantOfSlots) return Number.POSITIVE_INFINITY;
    kind.lackingSince ??= now;
    const patience = kind.lackingSince + (kind.isAlone ? 0 : this.#rules.memoryPatience);
    if (now < patience) return patience;
    const free = living.filter((load) => load.reservedFor === undefined);
    const [emptiest] = free.sort((a, b) => a.usage - b.usage);
    if (emptiest) emptiest.reservedFor = kind;
    return Number.POSITIVE_INFINITY;
  }

  #urgency({ job, arrived }: Waiting): number {
    return job.remaining - this.#rules.ageing * arrived;
  }

  /** The more urgent first; of equal ones the longer, then the one that came first. */
  #compare(a: Waiting, b: Waiting): number {
    return (
      this.#urgency(b) - this.#urgency(a) ||
      (b.job.seconds ?? 0) - (a.job.seconds ?? 0) ||
      (a.order ?? 0) - (b.order ?? 0)
    );
  }
}

/** Those that have more memory than the others. A builder of which nobody has said how much it has is taken for the smallest. */
function withMostMemory(loads: readonly BuilderState[]): readonly BuilderState[] {
  const most = Math.max(0, ...loads.map(({ builder }) => builder.memory ?? 0));
  return loads.filter(({ builder }) => (builder.memory ?? 0) === most);
}

function isFree(load: BuilderState, kind: object): boolean {
  return load.reservedFor === undefined || load.reservedFor === kind;
}
