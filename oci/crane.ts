import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { RegistryError, type RegistryProblem, registryError, registryErrorOf } from "./registry-error.ts";

/** How long a registry that fails for a while is asked again, by whoever can do nothing else meanwhile. */
export type Endurance = {
  /** In milliseconds, of waiting altogether; none by default. */
  readonly endurance?: number | undefined;
  /** Is told of each wait. */
  readonly waiting?: ((line: string) => void) | undefined;
};

/** How a command of crane's is run. */
export type CraneRun = Endurance & {
  /** What is being done, in words: `pulling core-sh from docker.io/stagex`. Begins the error's message. */
  readonly doing: string;
  /** Receives stdout; asked for anew at each try. */
  readonly to: () => Writable;
  /** More bytes than this on stdout are an error, so that no registry can fill the disk. */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
  /** Each line that crane writes of its requests and their answers. */
  readonly onLine?: ((line: string) => void) | undefined;
};

/** A transfer in which nothing moves for so long, in milliseconds, is given up. */
const patience = 120_000;

/** Before each retry, in milliseconds, of what crane itself does not retry as it does 429, 5xx and refused connections. */
const waits = [1_000, 3_000];

/** The longest wait before a retry, in milliseconds, unless the registry asks for more. */
const longestWait = 15_000;

/**
 * Runs crane (of go-containerregistry) to its end, and again where the connection broke; with {@link Endurance} also where the
 * registry is down or overloaded, as long as that allows, and never before the time that it asks for (Retry-After).
 * @throws RegistryError that names what went wrong
 */
export async function runCrane(crane: string, args: readonly string[], run: CraneRun): Promise<void> {
  let waited = 0;
  for (let tries = 0; ; tries += 1) {
    try {
      return await tryCrane(crane, args, run);
    } catch (error) {
      const pause = pauseAfter(error, tries, (run.endurance ?? 0) - waited);
      if (!(error instanceof RegistryError) || pause === null) throw error;
      run.waiting?.(`${error.message}; trying again in ${Math.ceil(pause / 1000)} s`);
      await wait(pause, undefined, { signal: run.signal });
      waited += pause;
    }
  }
}

/** How long to wait before the next try, in milliseconds; null for never. */
function pauseAfter(error: unknown, tries: number, left: number): number | null {
  if (!(error instanceof RegistryError)) return null;
  const always = error.problem === "cut-off" ? (waits[tries] ?? null) : null;
  if (!error.mayPass || left <= 0) return always;
  // Not all at the same moment: hundreds of images may wait for the same registry.
  const backoff = Math.min(longestWait, 1_000 * 2 ** tries) * (0.75 + Math.random() / 2);
  const pause = Math.max(backoff, (error.retryAfter ?? 0) * 1000);
  return pause <= left ? pause : always;
}

async function tryCrane(crane: string, args: readonly string[], run: CraneRun): Promise<void> {
  const { doing, limit, signal } = run;
  signal?.throwIfAborted();
  // Verbose, as that alone tells what the registry calls its answer.
  const child = spawn(crane, ["--verbose", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  ended.catch(() => {});
  const said = { words: "", contentType: "", retryAfter: "" };
  createInterface({ input: child.stderr }).on("line", (line) => {
    run.onLine?.(line);
    if (line.startsWith("Error: ")) said.words = line;
    said.contentType = /^Content-Type: (.*)$/i.exec(line)?.[1] ?? said.contentType;
    said.retryAfter = /^Retry-After: (.*)$/i.exec(line)?.[1] ?? said.retryAfter;
  });

  let failure: RegistryError | undefined;
  const giveUp = (problem: RegistryProblem, reason: string): void => {
    failure ??= registryError(problem, doing, reason);
    child.kill("SIGKILL");
  };
  const stalled = setTimeout(() => giveUp("cut-off", `nothing came for ${patience / 1000} s`), patience);
  const abort = (): boolean => child.kill("SIGKILL");
  signal?.addEventListener("abort", abort, { once: true });

  async function* metered(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
    let received = 0;
    for await (const chunk of source) {
      stalled.refresh();
      received += chunk.length;
      if (received > limit) return giveUp("wrong-bytes", `it gives more than the ${limit} bytes there are`);
      yield chunk;
    }
  }
  try {
    await pipeline(child.stdout, metered, run.to());
    await ended;
  } finally {
    clearTimeout(stalled);
    signal?.removeEventListener("abort", abort);
    child.kill("SIGKILL");
  }
  signal?.throwIfAborted();
  if (failure !== undefined) throw failure;
  if (child.exitCode !== 0) throw registryErrorOf(doing, said);
}
