import { Output, type Resource, RunError, recover } from "@pulumi/pulumi";

/**
 * The reason why an output is missing, whose cause the engine has shown. The SDK reports a
 * `RunError` by its message alone, and once, however many outputs wait for it. It reports another
 * error with a stack, for each resource that depends on the failed one.
 *
 * Upstream: https://github.com/pulumi/pulumi/issues/21901 and
 * https://github.com/pulumi/pulumi/pull/23423 are about the message; that one failure is reported
 * for each dependent is not filed.
 *
 * Remove this file when the SDK reports a failed resource once, and its dependents as skipped.
 */
class NotMade extends RunError {
  constructor(message: string) {
    super(message);
    // The SDK prepends "error serializing property …" for every image on the way from this one.
    Object.defineProperty(this, "message", { get: () => message, set: () => {} });
  }
}

const known = new WeakMap<object, NotMade>();
const belowQuorum = new NotMade("images below quorum are not published in this run");

/** Returns an output of an image that fails with a short message, if the image fails. */
export function shortenBuildFailure<Value>(output: Output<Value>, image: string): Output<Value> {
  return recover(output, (error: unknown) => {
    throw error instanceof NotMade || typeof error !== "object" || error === null
      ? error
      : notBuilt(error, image);
  });
}

/**
 * Returns an output of a quorum that fails with the same short message for all images, if the
 * quorum is not met.
 */
export function shortenQuorumFailure<Value>(output: Output<Value>): Output<Value> {
  return recover(output, () => {
    throw belowQuorum;
  });
}

/**
 * Handles the failed outputs of a resource that nothing waits for, which the SDK would report with
 * a stack each.
 */
export function silenceFailedOutputs(resource: Resource): void {
  for (const output of Object.values(resource)) {
    if (Output.isInstance(output)) recover<unknown>(output, () => undefined);
  }
}

/**
 * Returns one error for all outputs with the same cause, for the SDK recognizes reported errors by
 * identity.
 */
function notBuilt(error: object, image: string): NotMade {
  const found =
    known.get(error) ?? new NotMade(`${image} failed, so what is built from it is not built in this run`);
  known.set(error, found);
  return found;
}
