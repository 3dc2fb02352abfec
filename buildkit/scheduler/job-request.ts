import type { RunningJob } from "./builder-state.ts";
import type { Job, ScheduledBuilder } from "./job.ts";
import { QueuedJob } from "./queued-job.ts";

/**
 * Does a job on a builder. `free` gives its slot to another job before all of the work is done: the
 * rest needs the builder no more, and goes on even if the builder is lost.
 */
export type BuilderWork<Result> = (
  builder: ScheduledBuilder,
  signal: AbortSignal,
  free: () => void,
) => Promise<Result>;

/** One caller that asked for a job. */
export type Caller = {
  readonly work: BuilderWork<unknown>;
  readonly signal: AbortSignal;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly stopListening: () => void;
};

/** A job with all its callers; the work of the first is done. */
export class JobRequest extends QueuedJob {
  readonly callers: Caller[] = [];
  /** The builders that were lost during the job, with the reasons. */
  readonly losses: string[] = [];
  /** How often the kernel killed it for lack of memory. */
  kills = 0;
  /** The last reason logged for which it waits. */
  loggedWait = "";
}

/** A request on a builder. */
export class JobRun implements RunningJob {
  readonly request: JobRequest;
  readonly caller: Caller;
  readonly since: number;
  readonly expected: number | undefined;
  readonly isExclusive: boolean;
  hadCompany = false;
  readonly controller = new AbortController();
  /** Whether its slot is another's: the rest of its work needs the builder no more. */
  hasLeft = false;

  constructor(request: JobRequest, caller: Caller, since: number, expected: number | undefined) {
    this.request = request;
    this.caller = caller;
    this.since = since;
    this.expected = expected;
    this.isExclusive = request.isExclusive;
  }

  get job(): Job {
    return this.request.job;
  }
}
