import { z } from "zod";
import { runBuildctl } from "./buildctl.ts";
import { diagnoseQueryFailure } from "./connection-error.ts";
import type { Endpoint } from "./endpoint.ts";

const workersSchema = z
  .array(
    z.object({
      platforms: z
        .array(z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() }))
        .min(1),
      buildkitVersion: z.object({ version: z.string() }),
    }),
  )
  .min(1);

type Platform = z.infer<typeof workersSchema>[number]["platforms"][number];

/** A daemon's platforms (such as `linux/amd64`, its own first) and version (such as `v0.34.2`). */
export type DaemonInfo = { readonly platforms: readonly string[]; readonly version: string };

/** How long the daemon has for an answer, in milliseconds. */
const answerTimeout = 20_000;

/**
 * Asks the daemon for its default worker.
 * @throws ConnectionError where it does not answer within 20 seconds, with the likely cause
 */
export async function queryDaemon(endpoint: Endpoint, signal?: AbortSignal): Promise<DaemonInfo> {
  const timeout = AbortSignal.timeout(answerTimeout);
  const request = ["--timeout", "10", "debug", "workers", "--format", "{{json .}}"];
  try {
    const { stdout } = await runBuildctl(endpoint, request, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    const [worker] = workersSchema.parse(JSON.parse(stdout));
    if (worker === undefined) throw new Error("it has no worker");
    return { platforms: worker.platforms.map(formatPlatform), version: worker.buildkitVersion.version };
  } catch (error) {
    signal?.throwIfAborted();
    const late = timeout.aborted ? `no answer within ${answerTimeout / 1000} s` : undefined;
    throw await diagnoseQueryFailure(endpoint, error, late);
  }
}

/** Counts the running builds of all clients of the daemon; undefined where it does not answer. */
export async function countActiveBuilds(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<number | undefined> {
  const request = ["debug", "histories", "--format", "{{.Type}}"];
  const timeout = AbortSignal.timeout(answerTimeout);
  try {
    const { stdout } = await runBuildctl(endpoint, request, { signal: AbortSignal.any([signal, timeout]) });
    return stdout.split("\n").filter((type) => type === "STARTED").length;
  } catch {
    return undefined;
  }
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(Boolean).join("/");
}
