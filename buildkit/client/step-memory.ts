/** What a step's container took. */
export type StepMemory = {
  /** Bytes at its peak, without what the kernel could drop. */
  readonly peak: number;
  /** How many of its processes the kernel has killed for want of memory. */
  readonly killed: number;
};

/** A step from its start to its end, in seconds, with what it took. */
export type MeasuredStep = { readonly start: number; readonly end: number; readonly peak: number };

/** The last line that a step's runtime writes (tools/go/runc-hermetic/measure.go), after what the step itself has left of a line. */
const reportPattern = /stagex-memory: peak=(\d{1,15}) killed=(\d{1,9})$/;

/**
 * Finds the runtime's report in a line of a step's output. A step can write such a line too: it then says something wrong of itself, which
 * changes when it is built and where, and nothing else.
 * @returns undefined where there is none; else `rest`, what stands before it
 */
export function parseMemoryReport(line: string): (StepMemory & { readonly rest: string }) | undefined {
  // Most lines are none, and some are long.
  if (!line.includes("stagex-memory: ")) return undefined;
  const [report, peak, killed] = reportPattern.exec(line) ?? [];
  if (report === undefined) return undefined;
  return { rest: line.slice(0, -report.length), peak: Number(peak), killed: Number(killed) };
}

/** The most that these steps can have taken together: those that ran side by side add up. 0 where none was measured. */
export function combinedPeak(steps: readonly MeasuredStep[]): number {
  return steps.reduce((most, { start }) => {
    const beside = steps.filter((other) => other.start <= start && start < other.end);
    return Math.max(
      most,
      beside.reduce((sum, { peak }) => sum + peak, 0),
    );
  }, 0);
}
