import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { logCommand } from "../../lib/debug-log.ts";
import { parseClientFailure, RegistryError, type RegistryProblem, registryError } from "./registry-error.ts";
import { type RegistryLimits, registryLimits, timeoutFor } from "./registry-limits.ts";

/** How long a registry that fails for a while is asked again, by whoever can do nothing else meanwhile. */
export type RetryOptions = {
  /** In milliseconds, of waiting altogether; none by default. */
  readonly retryFor?: number | undefined;
  /** Is told of each wait. */
  readonly onRetry?: ((line: string) => void) | undefined;
};

/** How a command of the registry client is run. */
export type ClientCommand = RetryOptions & {
  /** What is being done, in words: `pulling core-sh from docker.io/stagex`. Begins the error's message. */
  readonly action: string;
  /** Receives stdout; asked for anew at each try. */
  readonly openOutput: () => Writable;
  /** More bytes than this are an error, of the registry's answer and on stdout, so that no registry can fill disk or memory. */
  readonly limit: number;
  /** Bytes of the blobs that go either way, for which the command gets more time; none by default. */
  readonly size?: number;
  readonly signal?: AbortSignal | undefined;
};

/** Before each retry, in milliseconds, of what the client itself does not retry as it does 429, 5xx and refused connections. */
const waits = [1_000, 3_000];

/** The longest wait before a retry, in milliseconds, unless the registry asks for more. */
const longestWait = 15_000;

/** How much later than the client's own limit it is killed, in milliseconds: it ends by itself unless it hangs. */
const grace = 5_000;

/** What an ended client has written is read within this time, in milliseconds. */
const lastWords = 1_000;

/** Its last line has the error. Others come only where Go itself fails. */
const stderrLimit = 64 * 1024;

/**
 * The `registry-client` of `tools/go/registry-client`: go-containerregistry, which knows every registry's ways to log in, the docker
 * config and its credential helpers, within {@link RegistryLimits}.
 */
export class RegistryClient {
  readonly limits: RegistryLimits;
  readonly #program: string;
  readonly #deadline: number;

  /**
   * @param program its path
   * @param deadline in `performance.now()`'s time, by which every command ends
   */
  constructor(program: string, limits: RegistryLimits = registryLimits, deadline = Number.POSITIVE_INFINITY) {
    this.#program = program;
    this.limits = limits;
    this.#deadline = deadline;
  }

  /** The same client for one image: all its commands together end within {@link RegistryLimits.imageTimeout}. */
  forImage({ retryFor: endurance = 0 }: RetryOptions = {}): RegistryClient {
    const deadline = performance.now() + this.limits.imageTimeout + endurance;
    return new RegistryClient(this.#program, this.limits, Math.min(deadline, this.#deadline));
  }

  /**
   * Runs a command to its end, and again where the connection broke; with {@link RetryOptions} also where the registry is down or
   * overloaded, as long as that allows, and never before the time that it asks for (Retry-After).
   * @throws RegistryError that names what went wrong
   */
  async run(args: readonly string[], run: ClientCommand): Promise<void> {
    const time = timeoutFor(run.size ?? 0, this.limits);
    const end = Math.min(this.#deadline, performance.now() + time + (run.retryFor ?? 0));
    let waited = 0;
    for (let tries = 0; ; tries += 1) {
      const left = end - performance.now();
      if (left <= 0) throw registryError("cut-off", run.action, "the time for this image was over", false);
      try {
        return await this.#try(args, run, Math.min(time, left));
      } catch (error) {
        const pause = pauseAfter(error, tries, (run.retryFor ?? 0) - waited);
        if (!(error instanceof RegistryError) || pause === null) throw error;
        if (performance.now() + pause >= end) throw error;
        run.onRetry?.(`${error.message}; trying again in ${Math.ceil(pause / 1000)} s`);
        await wait(pause, undefined, { signal: run.signal });
        waited += pause;
      }
    }
  }

  async #try(args: readonly string[], run: ClientCommand, time: number): Promise<void> {
    const { action: doing, limit, signal } = run;
    signal?.throwIfAborted();
    const command = [...this.#flags(limit, time), ...args];
    logCommand(this.#program, command);
    const child = spawn(this.#program, command, {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(child, "close");
    ended.catch(() => {});
    // A credential helper that hangs has stderr too, and keeps it.
    child.once("exit", () => setTimeout(() => child.stderr.destroy(), lastWords).unref());
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-stderrLimit);
    });

    let failure: RegistryError | undefined;
    const giveUp = (problem: RegistryProblem, reason: string): void => {
      failure ??= registryError(problem, doing, reason);
      child.kill("SIGKILL");
    };
    const hung = () => giveUp("cut-off", `it was not done after ${Math.ceil(time / 1000)} s`);
    const wall = setTimeout(hung, time + grace);
    const abort = (): boolean => child.kill("SIGKILL");
    signal?.addEventListener("abort", abort, { once: true });

    async function* metered(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
      let received = 0;
      for await (const chunk of source) {
        received += chunk.length;
        if (received > limit) return giveUp("wrong-bytes", `it gives more than the ${limit} bytes there are`);
        yield chunk;
      }
    }
    try {
      await pipeline(child.stdout, metered, run.openOutput());
      await ended;
    } finally {
      clearTimeout(wall);
      signal?.removeEventListener("abort", abort);
      child.kill("SIGKILL");
    }
    signal?.throwIfAborted();
    if (failure !== undefined) throw failure;
    if (child.exitCode !== 0) throw parseClientFailure(doing, said);
  }

  #flags(bytes: number, time: number): readonly string[] {
    const { responseTimeout: patience, minRate: slowest, redirects } = this.limits;
    const milliseconds = (number: number) => `${Math.max(1, Math.round(number))}ms`;
    return [
      `-bytes=${bytes}`,
      `-time=${milliseconds(time)}`,
      `-patience=${milliseconds(patience)}`,
      `-slowest=${slowest}`,
      `-redirects=${redirects}`,
    ];
  }
}

/** How long to wait before the next try, in milliseconds; null for never. */
function pauseAfter(error: unknown, tries: number, left: number): number | null {
  if (!(error instanceof RegistryError)) return null;
  const always = error.problem === "cut-off" ? (waits[tries] ?? null) : null;
  if (!error.isTransient || left <= 0) return always;
  // Not all at the same moment: hundreds of images may wait for the same registry.
  const backoff = Math.min(longestWait, 1_000 * 2 ** tries) * (0.75 + Math.random() / 2);
  const pause = Math.max(backoff, (error.retryAfter ?? 0) * 1000);
  return pause <= left ? pause : always;
}
