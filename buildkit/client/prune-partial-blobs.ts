import { runBuildctl } from "./buildctl.ts";
import type { Endpoint } from "./endpoint.ts";

/** How long the daemon has for it, in milliseconds. */
const pruneTimeout = 60_000;

/**
 * Removes blobs from a daemon that it received only in part or with wrong bytes, and nothing else.
 * The daemon would resume such a blob with the next sender's bytes: after one lying registry, every
 * sender of the right bytes fails too ("unexpected commit digest"), until the daemon cleans up by
 * itself. A prune that matches no cache record does just that clean-up. Ignores a daemon that does
 * not answer: the next build there reports it.
 */
export async function prunePartialBlobs(endpoint: Endpoint, signal?: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(pruneTimeout);
  await runBuildctl(endpoint, ["prune", "--filter", "id==none"], {
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  }).catch(() => undefined);
}
