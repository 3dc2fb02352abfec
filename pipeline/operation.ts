/** One operation on a resource or an image: its cancellation and its reports. */
export type Operation = {
  /**
   * The outputs in the state, in an update and its preview. Another version of the provider may
   * have written them.
   */
  readonly before?: Readonly<Record<string, unknown>>;
  /** Aborted when the engine cancels or the resource's custom timeout has passed. */
  readonly signal: AbortSignal;
  /** Shows a line beside the resource while it lasts; the next one replaces it. */
  progress(line: string): void;
  /** Adds a message to the engine's output, which keeps it. */
  report(severity: "info" | "warning", message: string): void;
};
