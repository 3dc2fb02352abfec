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

/** The server of a request before any redirect. */
export type RedirectOrigin = {
  readonly url: URL;
  /** The scope of its address. It may redirect to no nearer one. */
  readonly scope: AddressScope;
};

/**
 * A redirect to a name whose addresses are all nearer to this machine than the server that
 * redirects.
 */
export class NearAddressError extends Error {
  override readonly name = "NearAddress";
}

/**
 * Returns the server of a response with the scope of the address that was connected to. Behind a
 * proxy a name counts as public, since only the proxy resolves it.
 * @param response its connection must still be open
 */
export function originOf(url: URL, { socket }: Pick<IncomingMessage, "socket">): RedirectOrigin {
  const { remoteAddress } = socket;
  const reach = isProxied(url) || !remoteAddress ? "public" : scopeOfAddress(remoteAddress);
  return { url, scope: scopeOfHost(url.hostname) ?? reach };
}

/**
 * Returns the problem of a redirect, or null where it may be followed. https must stay https, and
 * no server may redirect to an address nearer to this machine than its own: from the internet to a
 * private network, for example. Names are checked by {@link createRedirectLookup}, when they are
 * connected to.
 * @param isHashed whether the content is checked by a hash, so that clear text is allowed
 */
export function redirectProblem(first: RedirectOrigin, next: URL, isHashed = false): string | null {
  const isLocal = first.url.protocol === "http:" && isLoopbackHost(first.url.hostname);
  const mayBeClear = isHashed || (isLocal && isLoopbackHost(next.hostname));
  if (next.protocol !== "https:" && !(mayBeClear && next.protocol === "http:")) return "is not https";
  const to = scopeOfHost(next.hostname);
  return to === undefined || isNoNearer(to, first) ? null : nearText(first, to);
}

/**
 * Creates the lookup for connections after a redirect: only addresses no nearer than the first
 * server's are connected to.
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
