import type { Engine } from "./engine-log.ts";

/** Milliseconds between two lines of one resource. */
const pause = 250;

/**
 * Lines that stand beside a resource until its next. Each costs a call to the engine, and nobody reads what stands for less than a
 * moment: so of those that come in quick succession the last is shown, and of a resource that is done none.
 */
export class EphemeralLines {
  readonly #engine: Engine;
  readonly #pending = new Map<string, { line: string; readonly timer: NodeJS.Timeout }>();
  readonly #shown = new Set<string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Shows a line beside a resource, in a moment. */
  show(urn: string, line: string): void {
    const known = this.#pending.get(urn);
    if (known) {
      known.line = line;
      return;
    }
    const timer = setTimeout(() => {
      this.#pending.delete(urn);
      this.#shown.add(urn);
      this.#engine.log("info", pending.line, { urn, ephemeral: true });
    }, pause).unref();
    const pending = { line, timer };
    this.#pending.set(urn, pending);
  }

  /**
   * Forgets what has not been shown of a resource. Pulumi's display keeps the last line beside a resource until the whole run has ended,
   * and passes over empty ones: after a resource that was made, "done" stands there instead of what was done last.
   * @param isMade whether its call succeeded; beside one that failed Pulumi shows the error
   */
  end(urn: string, isMade: boolean): void {
    clearTimeout(this.#pending.get(urn)?.timer);
    this.#pending.delete(urn);
    if (this.#shown.delete(urn) && isMade) this.#engine.log("info", "done", { urn, ephemeral: true });
  }
}
