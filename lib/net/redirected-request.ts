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

/** Limits of the redirects that are followed. */
export type RedirectOptions = {
  /** Number of redirects. */
  readonly limit: number;
  /** True if the content is checked by a hash, so that clear text is allowed. */
  readonly isHashed?: boolean;
  /** Resolves the names of redirects; as the system does by default. */
  readonly resolveAddresses?: ResolveAddresses | undefined;
};

/** A redirect that is not followed. */
export class RedirectError extends Error {
  override readonly name = "RedirectError";
  readonly problem: string;
  /** Its target; undefined where there are too many redirects, or none is named. */
  readonly to: URL | undefined;

  constructor(fault: string, to?: URL) {
    super(to === undefined ? fault : `it redirects to ${to.protocol}//${to.host}, which ${fault}`);
    this.problem = fault;
    this.to = to;
  }
}

/**
 * Requests a URL and follows allowed redirects.
 * @param send sends one request. After a redirect it must connect with this lookup, and rethrow its
 * {@link NearAddressError}
 * @throws RedirectError; what `send` throws
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
