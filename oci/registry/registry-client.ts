import { spawn } from "node:child_process";
import { once } from "node:events";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { logCommand } from "../../lib/debug-log.ts";
import { jsonLimit } from "../blob.ts";
import { parseClientFailure, RegistryError, type RegistryProblem, registryError } from "./registry-error.ts";
import { type RegistryLimits, registryLimits, timeoutFor } from "./registry-limits.ts";

/** Options for retrying a request that failed with a transient problem. */
export type RetryOptions = {
  /** Milliseconds of waiting in all; none by default. */
  readonly retryFor?: number | undefined;
  /** Called before each wait. */
  readonly onRetry?: ((line: string) => void) | undefined;
};

/** Options of every request to a registry. */
export type RequestOptions = RetryOptions & { readonly signal?: AbortSignal | undefined };

/** A command of the registry client. */
export type ClientCommand = RequestOptions & {
  /** Begins the error's message: `pulling core-sh from docker.io/stagex`. */
  readonly action: string;
  /** Opens a stream for stdout, at each try. */
  readonly openOutput: () => Writable;
  /**
   * Limit of the registry's answer and of stdout, in bytes; more are an error, so that no registry
   * can fill disk or memory.
   */
  readonly limit: number;
  /**
   * Bytes of the blobs that are transferred, for which the command gets more time; none by default.
   */
  readonly size?: number;
};

/**
 * Waits before the retries of a connection that broke, in milliseconds. The client itself retries
 * 429 and 5xx.
 */
const waits = [1_000, 3_000];

/** The longest wait before a retry, in milliseconds, unless the registry asks for more. */
const longestWait = 15_000;

/**
 * The time after the client's own time limit at which it is killed, in milliseconds; it ends by
 * itself unless it hangs.
 */
const killDelay = 5_000;

/** The time for which the stderr of an ended client is still read, in milliseconds. */
const stderrDelay = 1_000;

/** The failure is stderr's last line; only a crash of the Go runtime prints more. */
const stderrLimit = 64 * 1024;

/**
 * Runs `registry-client` (`tools/go/registry-client`) within {@link RegistryLimits}. It is based on
 * go-containerregistry, which supports every registry's log-in, docker's config and its credential
 * helpers.
 */
export class RegistryClient {
  readonly limits: RegistryLimits;
  readonly #program: string;
  readonly #deadline: number;

  /**
   * @param program its path
   * @param deadline the `performance.now()` by which every command ends
   */
  constructor(program: string, limits: RegistryLimits = registryLimits, deadline = Number.POSITIVE_INFINITY) {
    this.#program = program;
    this.limits = limits;
    this.#deadline = deadline;
  }

  /** Returns the client for one image: all its commands together end within `imageTimeout`. */
  forImage({ retryFor = 0 }: RetryOptions = {}): RegistryClient {
    const deadline = performance.now() + this.limits.imageTimeout + retryFor;
    return new RegistryClient(this.#program, this.limits, Math.min(deadline, this.#deadline));
  }

  /**
   * Runs a command whose output is a document or nothing, and returns that output.
   * @throws RegistryError
   */
  async read(
    args: readonly string[],
    command: Omit<ClientCommand, "openOutput" | "limit"> & { readonly limit?: number },
  ): Promise<Buffer> {
    let output: Buffer[] = [];
    const openOutput = (): Writable => {
      const chunks: Buffer[] = [];
      output = chunks;
      return new Writable({
        write(chunk: Buffer, _encoding, done) {
          chunks.push(chunk);
          done();
        },
      });
    };
    await this.run(args, { limit: jsonLimit, ...command, openOutput });
    return Buffer.concat(output);
  }

  /**
   * Runs a command, and again where the connection broke. With {@link RetryOptions} it also runs
   * again where the registry is down or overloaded, after the time that the registry asks for
   * (Retry-After).
   * @throws RegistryError
   */
  async run(args: readonly string[], command: ClientCommand): Promise<void> {
    const { action, retryFor = 0, onRetry, signal } = command;
    const time = timeoutFor(command.size ?? 0, this.limits);
    const end = Math.min(this.#deadline, performance.now() + time + retryFor);
    let waited = 0;
    for (let tries = 0; ; tries += 1) {
      const left = end - performance.now();
      if (left <= 0) throw registryError("cut-off", action, "the time for this image was over", false);
      try {
        return await this.#try(args, command, Math.min(time, left));
      } catch (error) {
        const wait = waitAfter(error, tries, retryFor - waited);
        if (!(error instanceof RegistryError) || wait === null) throw error;
        if (performance.now() + wait >= end) throw error;
        onRetry?.(`${error.message}; trying again in ${Math.ceil(wait / 1000)} s`);
        await sleep(wait, undefined, { signal });
        waited += wait;
      }
    }
  }

  async #try(args: readonly string[], command: ClientCommand, time: number): Promise<void> {
    const { action, limit, signal } = command;
    signal?.throwIfAborted();
    const line = [...this.#flags(limit, time), ...args];
    logCommand(this.#program, line);
    const child = spawn(this.#program, line, {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(child, "close");
    ended.catch(() => {});
    // A credential helper that hangs inherits stderr, and keeps it open.
    child.once("exit", () => setTimeout(() => child.stderr.destroy(), stderrDelay).unref());
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-stderrLimit);
    });

    let failure: RegistryError | undefined;
    const kill = (problem: RegistryProblem, reason: string): void => {
      failure ??= registryError(problem, action, reason);
      child.kill("SIGKILL");
    };
    const onHang = () => kill("cut-off", `it was not done after ${Math.ceil(time / 1000)} s`);
    const hangTimer = setTimeout(onHang, time + killDelay);
    const abort = (): boolean => child.kill("SIGKILL");
    signal?.addEventListener("abort", abort, { once: true });

    async function* bounded(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
      let received = 0;
      for await (const chunk of source) {
        received += chunk.length;
        if (received > limit) return kill("wrong-bytes", `it gives more than the ${limit} bytes there are`);
        yield chunk;
      }
    }
    try {
      await pipeline(child.stdout, bounded, command.openOutput());
      await ended;
    } finally {
      clearTimeout(hangTimer);
      signal?.removeEventListener("abort", abort);
      child.kill("SIGKILL");
    }
    signal?.throwIfAborted();
    if (failure !== undefined) throw failure;
    if (child.exitCode !== 0) throw parseClientFailure(action, stderr);
  }

  #flags(bytes: number, time: number): readonly string[] {
    const { responseTimeout, minRate, redirects } = this.limits;
    const milliseconds = (number: number) => `${Math.max(1, Math.round(number))}ms`;
    return [
      `-bytes=${bytes}`,
      `-time=${milliseconds(time)}`,
      `-response-timeout=${milliseconds(responseTimeout)}`,
      `-min-rate=${minRate}`,
      `-redirects=${redirects}`,
    ];
  }
}

/** Returns the milliseconds to wait before the next try; null where there is none. */
function waitAfter(error: unknown, tries: number, left: number): number | null {
  if (!(error instanceof RegistryError)) return null;
  const always = error.problem === "cut-off" ? (waits[tries] ?? null) : null;
  if (!error.isTransient || left <= 0) return always;
  // Spread out: hundreds of images may wait for the same registry.
  const backoff = Math.min(longestWait, 1_000 * 2 ** tries) * (0.75 + Math.random() / 2);
  const wait = Math.max(backoff, (error.retryAfter ?? 0) * 1000);
  return wait <= left ? wait : always;
}
