/**
 * The builder failed and not the build: it died, its connection broke, its disk is full, it hangs.
 * Work that throws it is done again on another builder. Every other error is the build's own.
 */
export class BuilderLostError extends Error {
  override readonly name = "BuilderLostError";
}

/**
 * No builder can build an image: none of the fleet could at all, none answers any more, or too many
 * were lost with it.
 */
export class NoBuilderError extends Error {
  override readonly name = "NoBuilderError";
}

/**
 * The kernel killed the work for lack of memory. The scheduler then gives the job the largest
 * builder to itself. Where it had that already, the cause is the job's error.
 */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
  override readonly cause: Error;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.cause = cause;
  }
}
