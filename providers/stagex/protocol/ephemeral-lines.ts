import type { Engine } from "./engine-log.ts";

/** Milliseconds between two lines of one resource. */
const pause = 250;

/**
 * Progress lines, each of which stands beside a resource until the next. Each costs a call to the
 * engine, and a line that stands for an instant cannot be read. So only the last of several quick
 * ones is shown, and none once the resource is done.
 */
export class EphemeralLines {
  readonly #engine: Engine;
  readonly #pending = new Map<string, { line: string; readonly timer: NodeJS.Timeout }>();
  readonly #shown = new Set<string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Shows a line beside a resource, after a short pause. */
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
   * Discards the line of a resource that is not shown yet. Pulumi's display keeps the last line
   * until the whole run ends, and ignores empty ones, so "done" replaces it beside a resource that
   * succeeded.
   * @param isMade false for a resource that failed, beside which Pulumi shows the error
   */
  end(urn: string, isMade: boolean): void {
    clearTimeout(this.#pending.get(urn)?.timer);
    this.#pending.delete(urn);
    if (this.#shown.delete(urn) && isMade) this.#engine.log("info", "done", { urn, ephemeral: true });
  }
}
