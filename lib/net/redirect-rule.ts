import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import {
  type AddressScope,
  addressScopes,
  isLoopbackHost,
  scopeOfAddress,
  scopeOfHost,
} from "./address-scope.ts";
import { createCheckedLookup, type ResolveAddresses } from "./checked-lookup.ts";
import { isProxied } from "./environment-proxy.ts";

/** What was asked for before any redirect. */
export type RedirectOrigin = {
  readonly url: URL;
  /** How near to this machine its server is: it may lead to no nearer one. */
  readonly scope: AddressScope;
};

/** That a redirect leads to a name all of whose addresses are nearer to this machine than who led there. */
export class NearAddressError extends Error {
  override readonly name = "NearAddress";
}

/**
 * Tells how near the server of an answer is, by the address that was connected to. A name that is asked through a proxy has its address
 * there and not here.
 * @param answer one whose connection is still there
 */
export function originOf(url: URL, { socket }: Pick<IncomingMessage, "socket">): RedirectOrigin {
  const { remoteAddress } = socket;
  const reach = isProxied(url) || !remoteAddress ? "public" : scopeOfAddress(remoteAddress);
  return { url, scope: scopeOfHost(url.hostname) ?? reach };
}

/**
 * Says what is wrong with a redirect, or null where it may be followed: https stays https, and nobody leads from the internet to a
 * private network, to this machine or to what answers on its link alone. That is told of a URL with an address; names are judged as they
 * are connected to, by {@link createRedirectLookup}.
 * @param isHashed whether a hash guards what is fetched: then clear text will do
 */
export function redirectProblem(first: RedirectOrigin, next: URL, isHashed = false): string | null {
  const isLocal = first.url.protocol === "http:" && isLoopbackHost(first.url.hostname);
  const mayBeClear = isHashed || (isLocal && isLoopbackHost(next.hostname));
  if (next.protocol !== "https:" && !(mayBeClear && next.protocol === "http:")) return "is not https";
  const to = scopeOfHost(next.hostname);
  return to === undefined || isNoNearer(to, first) ? null : nearText(first, to);
}

/**
 * Makes the lookup for connections to which a redirect leads: only addresses no nearer than the first server's are connected to.
 * @returns a lookup that fails with {@link NearAddressError} where a name has none
 */
export function createRedirectLookup(
  first: RedirectOrigin,
  resolveAddresses?: ResolveAddresses,
): LookupFunction {
  return createCheckedLookup((_host, addresses) => {
    const allowed = addresses.filter((address) => isNoNearer(scopeOfAddress(address), first));
    const [refused] = addresses;
    if (allowed.length > 0 || refused === undefined) return allowed;
    throw new NearAddressError(nearText(first, scopeOfAddress(refused)));
  }, resolveAddresses);
}

function isNoNearer(reach: AddressScope, first: RedirectOrigin): boolean {
  return addressScopes.indexOf(reach) <= addressScopes.indexOf(first.scope);
}

function nearText({ url }: RedirectOrigin, to: AddressScope): string {
  return `is a ${to} address, and ${url.hostname} is not`;
}
