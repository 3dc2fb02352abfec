/** The parameters of the order of jobs and of their placement. */
export type SchedulingRules = {
  /**
   * Bytes a second at which inputs reach a builder. Default 100 MB/s: a gigabit line, or BuildKit's
   * tunnel.
   */
  readonly bytesPerSecond: number;
  /**
   * Seconds of remaining path that a second of waiting is worth. Small, so that the longest path
   * decides; not zero, so that no job waits for ever behind an endless row of more urgent ones.
   */
  readonly ageing: number;
  /**
   * Seconds for which other jobs may pass one that lacks memory; then a builder is emptied for it.
   */
  readonly memoryWait: number;
};

export const defaultRules: SchedulingRules = { bytesPerSecond: 100e6, ageing: 0.05, memoryWait: 300 };
