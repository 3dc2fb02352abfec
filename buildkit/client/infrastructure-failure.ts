import { diagnoseConnection } from "./connection-diagnosis.ts";
import type { Endpoint } from "./endpoint.ts";
import type { FailedStep } from "./progress.ts";

/** What made a solve fail though the build is not to blame: the daemon went away, or its disk is full. */
export type InfrastructureFailure = { readonly kind: "gone" | "disk"; readonly message: string };

/** buildctl's and gRPC's words where a daemon is not reached, or no longer. */
const goneWords =
  /\bUnavailable\b|error reading from server|transport is closing|dial (?:tcp|unix)|\blookup \S+ on /;

/** A daemon that is told to end cancels its builds. */
const cancelledWords = /\bCanceled\b|context canceled/;

/**
 * Finds the builder's part in a failed solve that this side did not end; undefined where the build failed by itself.
 * @param ownFolder where the result is written on this machine: when that one is full, no other builder helps
 */
export function diagnoseInfrastructure(
  endpoint: Endpoint,
  failed: FailedStep | undefined,
  lastMessage: string,
  ownFolder: string,
): InfrastructureFailure | undefined {
  const error = failed?.error || lastMessage;
  // A program that was killed because its build was cancelled has words after its exit code.
  const isOfProgram = /exit code: \d+$/.test(error);
  const words = isOfProgram ? (failed?.tail ?? []).join("\n") : error;
  if (/no space left on device/i.test(words) && !words.includes(ownFolder))
    return { kind: "disk", message: "its disk is full" };
  if (isOfProgram) return undefined;
  if (goneWords.test(words))
    return {
      kind: "gone",
      message: diagnoseConnection(words, endpoint)?.message ?? "it went away in mid-build",
    };
  return cancelledWords.test(words) ? { kind: "gone", message: "it cancelled the build" } : undefined;
}
