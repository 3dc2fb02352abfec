import { setTimeout as sleep } from "node:timers/promises";
import pLimit, { type LimitFunction } from "p-limit";

/**
 * The state of a mirror's host in one run: an origin as in RFC 6454, such as `https://a.test:8443`.
 */
type Host = {
  readonly limit: LimitFunction;
  /** The reason why it is not asked again in this run. */
  down: string | undefined;
  /** The earliest time of the next request, in milliseconds of `performance.now()`. */
  notBefore: number;
};

/** Raised for a host that an earlier request of this run found to be down. */
export class HostDownError extends Error {
  override readonly name = "HostDown";
}

/** The longest pause to wait for, in milliseconds. During a longer one the host is not asked. */
export const maxPause = 60_000;

/** The number of concurrent requests to one host: volunteers' mirrors reject clients with more. */
const perHost = 3;

/**
 * The hosts of all mirrors of one run. Bounds the concurrent requests to each, keeps the pauses
 * that it asks for, and skips those that are down. A release has hundreds of files on the same few
 * hosts.
 */
export class MirrorHosts {
  readonly #hosts = new Map<string, Host>();

  /**
   * Runs a request when its host may be asked.
   * @throws HostDownError if the host was found to be down, before or meanwhile, or asks for a long
   *   pause; the signal's reason when aborted
   */
  async ask<Answer>(url: URL, signal: AbortSignal, request: () => Promise<Answer>): Promise<Answer> {
    const host = this.#host(url);
    return await host.limit(async () => {
      for (let pause = pauseOf(host); pause > 0; pause = pauseOf(host)) {
        if (pause > maxPause)
          throw new HostDownError(
            `not asked: it wants to be left alone for another ${Math.ceil(pause / 1000)} s`,
          );
        await sleep(pause, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
      signal.throwIfAborted();
      if (host.down !== undefined) throw new HostDownError(`not asked again in this run: ${host.down}`);
      return await request();
    });
  }

  /** Marks this URL's host as down for the rest of the run. */
  markDown(url: URL, reason: string): void {
    this.#host(url).down ??= reason;
  }

  /**
   * Pauses requests to this URL's host (Retry-After: RFC 9110, 10.2.3).
   * @param pause in milliseconds
   */
  pause(url: URL, pause: number): void {
    const host = this.#host(url);
    host.notBefore = Math.max(host.notBefore, performance.now() + pause);
  }

  #host(url: URL): Host {
    const known = this.#hosts.get(url.origin);
    if (known !== undefined) return known;
    const host: Host = { limit: pLimit(perHost), down: undefined, notBefore: 0 };
    this.#hosts.set(url.origin, host);
    return host;
  }
}

function pauseOf(host: Host): number {
  return host.down === undefined ? Math.ceil(host.notBefore - performance.now()) : 0;
}
