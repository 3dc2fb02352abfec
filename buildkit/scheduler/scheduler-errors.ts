/**
 * Thrown by the work given to a schedule when the builder failed and not the build: it died, its connection broke, its disk is full,
 * it hangs. The schedule then builds elsewhere. Every other error is the build's own.
 */
export class BuilderLostError extends Error {
  override readonly name = "BuilderLost";
}

/** No builder can build an image: none of the fleet could at all, none answers any more, or it took too many with it. */
export class NoBuilderError extends Error {
  override readonly name = "NoBuilder";
}

/**
 * Thrown by the work given to a schedule when the kernel killed it for want of memory. The schedule then has it done by itself where there is
 * most memory; where that was so already, the cause is the job's error.
 */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemory";
  override readonly cause: Error;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.cause = cause;
  }
}
