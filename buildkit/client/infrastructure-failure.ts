import { diagnoseConnection } from "./connection-diagnosis.ts";
import type { Endpoint } from "./endpoint.ts";
import type { FailedStep } from "./progress.ts";

/** A failure of the builder and not of the build: the daemon went away, or its disk is full. */
export type InfrastructureFailure = { readonly kind: "gone" | "disk"; readonly message: string };

/** Messages of buildctl and gRPC where a daemon is not reached, or no longer. */
const goneWords =
  /\bUnavailable\b|error reading from server|transport is closing|dial (?:tcp|unix)|\blookup \S+ on /;

/** A daemon that is told to stop cancels its builds. */
const cancelledWords = /\bCanceled\b|context canceled/;

/**
 * Finds the builder's failure behind a failed solve that this side did not cancel; undefined where
 * the build itself failed.
 * @param ownFolder the folder for the result on this machine: where its disk is full, no other
 * builder helps
 */
export function diagnoseInfrastructure(
  endpoint: Endpoint,
  failed: FailedStep | undefined,
  lastMessage: string,
  ownFolder: string,
): InfrastructureFailure | undefined {
  const error = failed?.error || lastMessage;
  // A program that was killed because its build was cancelled has a message after its exit code.
  const isOfProgram = /exit code: \d+$/.test(error);
  const words = isOfProgram ? (failed?.tail ?? []).join("\n") : error;
  if (/no space left on device/i.test(words) && !words.includes(ownFolder))
    return { kind: "disk", message: "its disk is full" };
  if (isOfProgram) return undefined;
  if (goneWords.test(words))
    return {
      kind: "gone",
      message: diagnoseConnection(words, endpoint)?.message ?? "it went away during the build",
    };
  return cancelledWords.test(words) ? { kind: "gone", message: "it cancelled the build" } : undefined;
}
