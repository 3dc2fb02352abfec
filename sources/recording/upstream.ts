import type { IncomingMessage } from "node:http";
import { type AddressScope, bareHost, scopeOfAddress, scopeOfHost } from "../../lib/net/address-scope.ts";
import {
  createCheckedLookup,
  type ResolveAddresses,
  resolveWithSystem,
} from "../../lib/net/checked-lookup.ts";
import { sendRequest } from "../../lib/net/outgoing-request.ts";
import type { FetchRequest } from "./fetch-record.ts";

/** Rules for the hosts that a build may fetch from. */
export type HostPolicy = {
  /** Returns whether a host, `example.org`, may be asked at all. */
  readonly mayAsk: (host: string) => boolean;
  /**
   * Returns whether a host may be asked that is on a private network, on this machine, or on its
   * link.
   */
  readonly mayBePrivate: (host: string) => boolean;
};

export type UpstreamOptions = HostPolicy & {
  /** The only authorities to trust (PEM). Default: Node's own. */
  readonly ca?: string;
  /** Resolves a name to its addresses. Default: the system's resolver. */
  readonly resolveAddresses?: ResolveAddresses;
  /**
   * Milliseconds without a byte after which a connection counts as broken. Default: {@link idle}.
   */
  readonly idle?: number;
};

/** Raised where a request did not go out, or had no answer. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
}

/** Milliseconds without a byte after which a connection counts as broken. */
const idle = 60_000;

/** The request headers that are passed on. They hold no credentials: records are public. */
const forwardedHeaders = [
  "accept",
  "user-agent",
  "git-protocol",
  "content-type",
  "content-encoding",
] as const;

/**
 * Sends one request out, through the proxy that the environment names for it. Without a proxy it
 * resolves the host's name once, and connects to the address that was checked. No later answer of a
 * name server can lead elsewhere. A proxy gets the name, and finds its address itself.
 * @throws UpstreamError where the host may not be asked, or does not answer
 */
export async function sendUpstream(
  { method, url }: Pick<FetchRequest, "method" | "url">,
  { headers, body }: { headers: IncomingMessage["headers"]; body: Buffer | undefined },
  options: UpstreamOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const target = new URL(url);
  const host = bareHost(target.hostname);
  requireAllowed(host, options);
  const sent = Object.fromEntries(
    forwardedHeaders.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])),
  );
  const lookup = createCheckedLookup(
    (_name, addresses) => {
      const allowed = addresses.filter((address) => mayBeAt(host, scopeOfAddress(address), options));
      if (allowed.length > 0) return allowed;
      throw new UpstreamError(addresses.length === 0 ? `the name ${host} has no address` : notPublic(host));
    },
    resolvedBy(options.resolveAddresses ?? resolveWithSystem),
  );
  return await sendRequest(target, {
    ...{ method, body, signal, lookup, ca: options.ca, idle: options.idle ?? idle },
    headers: { ...sent, "accept-encoding": "identity", ...(body ? { "content-length": body.length } : {}) },
  }).catch((error: Error) => {
    throw error instanceof UpstreamError ? error : new UpstreamError(error.message, { cause: error });
  });
}

/** Checks a host without resolving its name. Requests through a proxy are checked by this alone. */
function requireAllowed(host: string, options: UpstreamOptions): void {
  if (!options.mayAsk(host))
    throw new UpstreamError(
      `${host} is not among the hosts of stagex:network; add it there if builds may fetch from it`,
    );
  const scope = scopeOfHost(host);
  if (scope !== undefined && !mayBeAt(host, scope, options)) throw new UpstreamError(notPublic(host));
}

function mayBeAt(host: string, scope: AddressScope, { mayBePrivate }: HostPolicy): boolean {
  return scope === "public" || mayBePrivate(host);
}

function notPublic(host: string): string {
  return `${host} is no public address, and builds may ask such only where stagex:network lists them as private`;
}

function resolvedBy(resolveAddresses: ResolveAddresses): ResolveAddresses {
  return async (host) =>
    await resolveAddresses(host).catch((error: Error) => {
      throw new UpstreamError(`the name ${host} can't be resolved (${error.message})`);
    });
}
