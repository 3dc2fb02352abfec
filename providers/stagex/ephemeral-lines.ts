import type { Engine } from "./engine.ts";

/** Milliseconds between two lines of one resource. */
const pause = 250;

/**
 * Lines that stand beside a resource until its next. Each costs a call to the engine, and nobody reads what stands for less than a
 * moment: so of those that come in quick succession the last is shown, and of a resource that is done none.
 */
export class EphemeralLines {
  readonly #engine: Engine;
  readonly #pending = new Map<string, { line: string; readonly timer: NodeJS.Timeout }>();

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
      this.#engine.log("info", pending.line, { urn, ephemeral: true });
    }, pause).unref();
    const pending = { line, timer };
    this.#pending.set(urn, pending);
  }

  /** Forgets what has not been shown of a resource. */
  end(urn: string): void {
    clearTimeout(this.#pending.get(urn)?.timer);
    this.#pending.delete(urn);
  }
}
