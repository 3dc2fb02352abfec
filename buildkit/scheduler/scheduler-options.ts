import type { BuilderProbe } from "./builder-recovery.ts";
import type { Clock } from "./clock.ts";
import type { SchedulerEvent } from "./scheduler-event.ts";
import type { SchedulingRules } from "./scheduling-rules.ts";

export type SchedulerOptions = {
  /**
   * Asks a lost builder whether it works again; throws where not. Called 2 s after the loss, and
   * then at intervals that double up to 5 minutes. Without it, a lost builder stays lost.
   */
  readonly probe?: BuilderProbe;
  /** Seconds that jobs wait for lost builders, where no other could take them. Default 600. */
  readonly lostBuilderTimeout?: number;
  /**
   * How many builders may be lost during a job, or how often it may be killed for lack of memory.
   * Default 3.
   */
  readonly maxAttempts?: number;
  readonly rules?: Partial<SchedulingRules>;
  readonly onEvent?: (event: SchedulerEvent) => void;
  readonly clock?: Clock;
};
