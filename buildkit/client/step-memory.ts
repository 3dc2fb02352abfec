/** The memory of a step's container. */
export type StepMemory = {
  /** Bytes at its peak, without those that the kernel could drop. */
  readonly peak: number;
  /** How many of its processes the kernel killed for lack of memory. */
  readonly killed: number;
};

/** The start and end of a step in seconds, and its peak in bytes. */
export type MeasuredStep = { readonly start: number; readonly end: number; readonly peak: number };

/**
 * The last line of a step's runtime (tools/go/runc-hermetic/measure.go), perhaps after an
 * unfinished line of the step.
 */
const reportPattern = /stagex-memory: peak=(\d{1,15}) killed=(\d{1,9})$/;

/**
 * Finds the runtime's report in a line of a step's output. A step can write such a line too: that
 * changes only when and where it is built.
 * @returns undefined where there is none; else `rest` is the text before it
 */
export function parseMemoryReport(line: string): (StepMemory & { readonly rest: string }) | undefined {
  // A fast test: most lines have no report, and some are long.
  if (!line.includes("stagex-memory: ")) return undefined;
  const [report, peak, killed] = reportPattern.exec(line) ?? [];
  if (report === undefined) return undefined;
  return { rest: line.slice(0, -report.length), peak: Number(peak), killed: Number(killed) };
}

/**
 * Returns the highest sum of the peaks of steps that ran at the same time; 0 where none was
 * measured.
 */
export function combinedPeak(steps: readonly MeasuredStep[]): number {
  return steps.reduce((most, { start }) => {
    const beside = steps.filter((other) => other.start <= start && start < other.end);
    return Math.max(
      most,
      beside.reduce((sum, { peak }) => sum + peak, 0),
    );
  }, 0);
}
