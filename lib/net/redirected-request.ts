import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import type { ResolveAddresses } from "./checked-lookup.ts";
import { discardResponse } from "./outgoing-request.ts";
import {
  createRedirectLookup,
  NearAddressError,
  originOf,
  type RedirectOrigin,
  redirectProblem,
} from "./redirect-rule.ts";

/** Which redirects are followed. */
export type RedirectOptions = {
  /** How many. */
  readonly limit: number;
  /** Whether a hash guards what is fetched: then clear text will do. */
  readonly isHashed?: boolean;
  /** The addresses of names that they lead to; the system's where not given. */
  readonly resolveAddresses?: ResolveAddresses | undefined;
};

/** That a redirect is not followed. */
export class RedirectError extends Error {
  override readonly name = "RedirectError";
  readonly problem: string;
  /** Where it leads, where it says so. */
  readonly to: URL | undefined;

  constructor(fault: string, to?: URL) {
    super(to === undefined ? fault : `it redirects to ${to.protocol}//${to.host}, which ${fault}`);
    this.problem = fault;
    this.to = to;
  }
}

/**
 * Asks for a URL, and follows redirects as long as they lead nowhere that the first server itself could not be.
 * @param send sends one request; where a redirect has led to it, the connection is made by this lookup, whose {@link NearAddressError} is passed on
 * @throws RedirectError, and what `send` throws
 */
export async function followRedirects(
  first: URL,
  send: (url: URL, lookup: LookupFunction | undefined) => Promise<IncomingMessage>,
  { limit, isHashed = false, resolveAddresses }: RedirectOptions,
): Promise<IncomingMessage> {
  let url = first;
  let origin: RedirectOrigin | undefined;
  for (let redirects = 0; redirects <= limit; redirects++) {
    const answer = await send(url, origin && createRedirectLookup(origin, resolveAddresses)).catch(
      (error: unknown) => {
        throw error instanceof NearAddressError ? new RedirectError(error.message, url) : error;
      },
    );
    const { statusCode = 0 } = answer;
    if (![301, 302, 303, 307, 308].includes(statusCode)) return answer;
    origin ??= originOf(first, answer);
    discardResponse(answer);
    const { location } = answer.headers;
    const next = location === undefined ? null : URL.parse(location, url.href);
    if (next === null) throw new RedirectError(`${statusCode} without a usable Location`);
    const fault = redirectProblem(origin, next, isHashed);
    if (fault !== null) throw new RedirectError(fault, next);
    url = next;
  }
  throw new RedirectError(`redirects more than ${limit} times`);
}
