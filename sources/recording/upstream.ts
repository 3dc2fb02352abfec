import type { IncomingMessage } from "node:http";
import { type AddressScope, bareHost, scopeOfAddress, scopeOfHost } from "../../lib/net/address-scope.ts";
import {
  createCheckedLookup,
  type ResolveAddresses,
  resolveWithSystem,
} from "../../lib/net/checked-lookup.ts";
import { sendRequest } from "../../lib/net/outgoing-request.ts";
import type { FetchRequest } from "./fetch-record.ts";

/** Which hosts a build may fetch from. */
export type HostPolicy = {
  /** Whether a host, `example.org`, may be asked at all. */
  readonly mayAsk: (host: string) => boolean;
  /** Whether a host may be asked that is on a private network, on this machine, or on its link. */
  readonly mayBePrivate: (host: string) => boolean;
};

export type UpstreamOptions = HostPolicy & {
  /** The only authorities to trust (PEM); those Node knows where it is not given. */
  readonly ca?: string;
  /** The addresses of a name; the system's where not given. */
  readonly resolveAddresses?: ResolveAddresses;
  /** Milliseconds without a byte after which a connection counts as broken; {@link idle} where not given. */
  readonly idle?: number;
};

/** Raised where a request did not go out, or had no answer. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
}

/** Milliseconds without a byte after which a connection counts as broken. */
const idle = 60_000;

/** What is passed on of a request's headers. No credentials are among them: what is recorded can be had by all. */
const passedOn = ["accept", "user-agent", "git-protocol", "content-type", "content-encoding"] as const;

/**
 * Sends one request out, through the proxy that the environment names for it. Where there is none the host's name is resolved once, and
 * what is connected to is the address that was looked at: no later answer of a name server can lead elsewhere. A proxy is given the name,
 * and finds its address itself.
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
  const sent = Object.fromEntries(passedOn.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])));
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

/** Judges what can be told without asking for addresses: what is asked through a proxy is judged by this alone. */
function requireAllowed(host: string, options: UpstreamOptions): void {
  if (!options.mayAsk(host))
    throw new UpstreamError(
      `${host} is not among the hosts of stagex:network; add it there if builds may fetch from it`,
    );
  const reach = scopeOfHost(host);
  if (reach !== undefined && !mayBeAt(host, reach, options)) throw new UpstreamError(notPublic(host));
}

function mayBeAt(host: string, reach: AddressScope, { mayBePrivate }: HostPolicy): boolean {
  return reach === "public" || mayBePrivate(host);
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
