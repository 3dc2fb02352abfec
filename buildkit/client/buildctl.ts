import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { logCommand } from "../../lib/debug-log.ts";
import { clientEnvironment } from "./client-environment.ts";
import { connectionArguments, type Endpoint } from "./endpoint.ts";

export type BuildctlOptions = {
  readonly signal?: AbortSignal | undefined;
  /** Its environment; what it needs to reach the daemon where not given. */
  readonly environment?: NodeJS.ProcessEnv;
};

/** In bytes: no answer is longer. */
const longestOutput = 16 * 1024 * 1024;

/**
 * Runs buildctl to its end.
 * @throws the error of `execFile`, with buildctl's `stderr`
 */
export async function runBuildctl(
  endpoint: Endpoint,
  args: readonly string[],
  { signal, environment = clientEnvironment(endpoint) }: BuildctlOptions = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const all = [...connectionArguments(endpoint), ...args];
  logCommand(endpoint.buildctl, all);
  return await promisify(execFile)(endpoint.buildctl, all, {
    env: environment,
    maxBuffer: longestOutput,
    ...(signal ? { signal } : {}),
  });
}
