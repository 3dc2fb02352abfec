import { Output, type Resource, RunError, recover } from "@pulumi/pulumi";

/**
 * Why an output is not there. The engine has shown what went wrong; a `RunError` is reported by its message alone, and once,
 * whatever waits for it.
 */
class NotMade extends RunError {
  constructor(message: string) {
    super(message);
    // The SDK puts "error serializing property …" in front for every image on the way from this one.
    Object.defineProperty(this, "message", { get: () => message, set: () => {} });
  }
}

const known = new WeakMap<object, NotMade>();
const belowQuorum = new NotMade("images below quorum are not published in this run");

/** An output of an image that, where the image fails, fails with few words. */
export function shortenBuildFailure<Value>(output: Output<Value>, image: string): Output<Value> {
  return recover(output, (error: unknown) => {
    throw error instanceof NotMade || typeof error !== "object" || error === null
      ? error
      : notBuilt(error, image);
  });
}

/** An output of a quorum that, where that is not met, fails with few words, and the same for all images. */
export function shortenQuorumFailure<Value>(output: Output<Value>): Output<Value> {
  return recover(output, () => {
    throw belowQuorum;
  });
}

/** Keeps the SDK from reporting, with a stack, each output of a failed image that nothing waits for. */
export function silenceFailedOutputs(resource: Resource): void {
  for (const output of Object.values(resource)) {
    if (Output.isInstance(output)) recover<unknown>(output, () => undefined);
  }
}

/** The same error for all outputs that failed with the same one, as the SDK tells reported errors by their identity. */
function notBuilt(error: object, image: string): NotMade {
  const found =
    known.get(error) ?? new NotMade(`${image} failed, so what is built from it is not built in this run`);
  known.set(error, found);
  return found;
}
