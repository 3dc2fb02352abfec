import { formatProgress, type ProgressEvent } from "./progress.ts";

/**
 * Selects the running instruction of a build for a display of one line. BuildKit starts
 * instructions of a stage ahead of those above them, and once more later, to find out what they
 * read. So the first running instruction of a stage is shown, and none twice in a row.
 */
export class RunningStep {
  /**
   * The running instructions in the order of their starts, each with its number: one for each
   * platform.
   */
  readonly #running = new Map<string, { readonly event: ProgressEvent; count: number }>();
  #shown = "";

  /** Takes an event, and returns the line where it differs from the last. */
  take(event: ProgressEvent): string | undefined {
    if (numberOf(event) === undefined) return undefined;
    const key = `${event.step} ${event.name}`;
    const known = this.#running.get(key);
    if (event.status === "started") {
      if (known) known.count += 1;
      else this.#running.set(key, { event, count: 1 });
    } else if (known && known.count > 1) known.count -= 1;
    else this.#running.delete(key);
    const next = this.#next();
    if (next === undefined) return undefined;
    const line = formatProgress(next);
    if (line === this.#shown) return undefined;
    this.#shown = line;
    return line;
  }

  /** Returns the first instruction of the stage that has run longest. */
  #next(): ProgressEvent | undefined {
    const events = [...this.#running.values()].map(({ event }) => event);
    const [oldest] = events;
    if (oldest === undefined) return undefined;
    const ofStage = events.filter((event) => stageOf(event) === stageOf(oldest));
    return ofStage.reduce((first, other) =>
      (numberOf(other) ?? 0) < (numberOf(first) ?? 0) ? other : first,
    );
  }
}

/** Returns the number in `build 5/12`; undefined where the step is not an instruction. */
function numberOf({ step }: ProgressEvent): number | undefined {
  const [, number] = /^(\d+)\/\d+$/.exec(step.slice(step.lastIndexOf(" ") + 1)) ?? [];
  return number === undefined ? undefined : Number(number);
}

function stageOf({ step }: ProgressEvent): string {
  return step.slice(0, step.lastIndexOf(" ") + 1);
}
