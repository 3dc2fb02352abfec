import type { Job } from "./job.ts";

/** A job in the queue. */
export class QueuedJob {
  readonly job: Job;
  /** The time of its first arrival: a job that lost its builder keeps its turn. */
  readonly arrived: number;
  /** Names of the builders that were lost while they built it. */
  readonly lostOn = new Set<string>();
  /**
   * Whether it needs a builder of its own, with the most memory: it was killed for lack of memory.
   */
  isExclusive = false;
  /** Its place among all that ever came into the queue. */
  order: number | undefined;
  /** False once it is taken out, though its heap may still hold it. */
  isQueued = false;

  constructor(job: Job, arrived: number) {
    this.job = job;
    this.arrived = arrived;
  }
}
