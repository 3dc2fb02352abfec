import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { clientEnvironment } from "./client-environment.ts";
import { connectionArguments, type Endpoint } from "./endpoint.ts";

/** How long the daemon has for it, in milliseconds. */
const patience = 60_000;

/**
 * Has a daemon forget what it received only in part or in wrong bytes, and nothing else. It would go on from there with the next one who
 * sends that blob: after one lying registry, whoever sends the right bytes fails too ("unexpected commit digest"), until the daemon
 * tidies up by itself. A prune that fits no cache record does just that tidying.
 * Does nothing where the daemon does not answer: who builds there next will be told.
 */
export async function prunePartialBlobs(endpoint: Endpoint, signal?: AbortSignal): Promise<void> {
  const request = [...connectionArguments(endpoint), "prune", "--filter", "id==none"];
  await promisify(execFile)(endpoint.buildctl, request, {
    env: clientEnvironment(endpoint),
    timeout: patience,
    ...(signal ? { signal } : {}),
  }).catch(() => undefined);
}
