/** The part of the engine's log that these lines use. */
type EphemeralLog = {
  log(severity: "info", message: string, at: { readonly urn: string; readonly ephemeral: true }): void;
};

/** Milliseconds between two lines of one resource. */
const pause = 250;

/**
 * Shows ephemeral lines beside resources: of lines in quick succession the last, and none of a
 * resource that is done.
 *
 * Each line costs a call to the engine, and no one reads a line that stands for a moment. The
 * display keeps the last line beside a resource until the whole run has ended, as if the work still
 * went on, and ignores empty lines. So "done" replaces it.
 *
 * Upstream: https://github.com/pulumi/pulumi/pull/1853 made ephemeral lines, to be shown until a
 * resource's operation completes; that they stay is not filed.
 *
 * Remove `end` when the display clears the line of a resource that is done. The pause stays.
 */
export class EphemeralLines {
  readonly #engine: EphemeralLog;
  readonly #pending = new Map<string, { line: string; readonly timer: NodeJS.Timeout }>();
  readonly #shown = new Set<string>();

  constructor(engine: EphemeralLog) {
    this.#engine = engine;
  }

  /** Shows a line beside a resource within a quarter of a second, unless another follows. */
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
   * Drops the line of a resource that has not been shown, and replaces the one that has by "done".
   * @param isMade whether its call succeeded; beside one that failed Pulumi shows the error
   */
  end(urn: string, isMade: boolean): void {
    clearTimeout(this.#pending.get(urn)?.timer);
    this.#pending.delete(urn);
    if (this.#shown.delete(urn) && isMade) this.#engine.log("info", "done", { urn, ephemeral: true });
  }
}
