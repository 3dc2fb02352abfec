import { formatProgress, type ProgressEvent } from "./progress.ts";

/**
 * Tells which instruction of a build runs, for a display that has one line for it. BuildKit starts instructions of a stage ahead of those
 * above them, and once more later, to learn what they read: of those that run in a stage the first is shown, and none twice in a row.
 */
export class RunningStep {
  /** Those that run, by the order of their starts, with how many of the same there are: one for each platform. */
  readonly #running = new Map<string, { readonly event: ProgressEvent; count: number }>();
  #shown = "";

  /** Takes an event. Returns the line, where another instruction is to be shown than before. */
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

  /** Of the stage that has run for longest. */
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

/** The number in `build 5/12`; undefined for what is no instruction. */
function numberOf({ step }: ProgressEvent): number | undefined {
  const [, number] = /^(\d+)\/\d+$/.exec(step.slice(step.lastIndexOf(" ") + 1)) ?? [];
  return number === undefined ? undefined : Number(number);
}

function stageOf({ step }: ProgressEvent): string {
  return step.slice(0, step.lastIndexOf(" ") + 1);
}
