/** One piece of work on one resource or image: how it is cancelled, and where it reports. */
export type Operation = {
  /**
   * In an update and its preview: the outputs in the state, which another version of the provider
   * may have written.
   */
  readonly before?: Readonly<Record<string, unknown>>;
  /** Ends when the engine cancels, or when the resource's custom time-out has passed. */
  readonly signal: AbortSignal;
  /** Shows a line beside the resource while it lasts; the next one replaces it. */
  progress(line: string): void;
  /** Adds a message to the engine's output, which keeps it. */
  report(severity: "info" | "warning", message: string): void;
};
