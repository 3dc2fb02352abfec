import { SolveError } from "../../buildkit/client/solve-error.ts";
import { BuilderLostError } from "../../buildkit/scheduler/scheduler.ts";

/**
 * Describes a failure of the builder.
 * @returns undefined for a failure of the build itself, and for a full disk on the only builder
 */
export function describeBuilderFailure(error: unknown, isOnlyBuilder: boolean): string | undefined {
  if (error instanceof BuilderLostError) return error.message;
  if (!(error instanceof SolveError) || !error.infrastructureFailure) return undefined;
  const { kind, message } = error.infrastructureFailure;
  return kind === "disk" && isOnlyBuilder ? undefined : `${message} (the log: ${error.log})`;
}

/** Returns the message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Returns the error of a fleet none of whose builders answers: that of its only builder, or one
 * that lists all.
 */
export function noBuilderError(failures: ReadonlyMap<string, unknown>): unknown {
  const [first] = failures.values();
  if (failures.size === 1) return first;
  const reasons = [...failures].map(([name, error]) => `  ${name}: ${messageOf(error)}`);
  return new Error(`none of the builders can be used:\n${reasons.join("\n")}`);
}
