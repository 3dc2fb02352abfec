import { lookup } from "node:dns/promises";
import { type IncomingMessage, type RequestOptions, request as requestInClear } from "node:http";
import { request } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { FetchRequest } from "../distro/fetch-record.ts";
import { bareHost, reachOfAddress } from "../lib/address-reach.ts";

/** Which hosts a build may fetch from. */
export type FetchHosts = {
  /** Whether a host, `example.org`, may be asked at all. */
  readonly mayAsk: (host: string) => boolean;
  /** Whether a host may be asked that is on a private network, on this machine, or on its link. */
  readonly mayBePrivate: (host: string) => boolean;
};

export type UpstreamOptions = FetchHosts & {
  /** The only authorities to trust (PEM); those Node knows where it is not given. */
  readonly ca?: string;
  /** The addresses of a name; the system's where not given. */
  readonly addressesOf?: (host: string) => Promise<readonly string[]>;
};

/** That a request did not go out, or had no answer. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
}

/** Milliseconds without a byte after which a connection counts as broken. */
const idle = 60_000;

/** What is passed on of a request's headers. No credentials are among them: what is recorded can be had by all. */
const passedOn = ["accept", "user-agent", "git-protocol", "content-type", "content-encoding"] as const;

/**
 * Sends one request out. The host's name is resolved once, and what is connected to is the address that was looked at: no later
 * answer of a name server can lead elsewhere.
 * @throws UpstreamError where the host may not be asked, or does not answer
 */
export async function askUpstream(
  { method, url }: Pick<FetchRequest, "method" | "url">,
  { headers, body }: { headers: IncomingMessage["headers"]; body: Buffer | undefined },
  options: UpstreamOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const target = new URL(url);
  const host = bareHost(target.hostname);
  const address = await allowedAddress(host, options);
  const pinned: LookupFunction = (_name, { all }, answer) => {
    const family = isIP(address);
    if (all) answer(null, [{ address, family }]);
    else answer(null, address, family);
  };
  const sent = Object.fromEntries(passedOn.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])));
  const settings: RequestOptions & { ca?: string } = {
    method,
    lookup: pinned,
    timeout: idle,
    signal,
    agent: false,
    headers: { ...sent, "accept-encoding": "identity", ...(body ? { "content-length": body.length } : {}) },
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  };
  return await new Promise((resolve, reject) => {
    const outgoing = (target.protocol === "https:" ? request : requestInClear)(target, settings, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new UpstreamError(`no byte for ${idle / 1000} s`)));
    outgoing.on("error", (error) =>
      reject(error instanceof UpstreamError ? error : new UpstreamError(error.message, { cause: error })),
    );
    outgoing.end(body);
  });
}

async function allowedAddress(host: string, options: UpstreamOptions): Promise<string> {
  if (!options.mayAsk(host))
    throw new UpstreamError(
      `${host} is not among the hosts of stagex:network; add it there if builds may fetch from it`,
    );
  const addressesOf =
    options.addressesOf ??
    (async (name) => (await lookup(name, { all: true })).map(({ address }) => address));
  const addresses =
    isIP(host) === 0
      ? await addressesOf(host).catch((error: Error) => {
          throw new UpstreamError(`the name ${host} can't be resolved (${error.message})`);
        })
      : [host];
  const allowed = options.mayBePrivate(host)
    ? addresses
    : addresses.filter((address) => reachOfAddress(address) === "public");
  const [first] = allowed;
  if (first !== undefined) return first;
  throw new UpstreamError(
    addresses.length === 0
      ? `the name ${host} has no address`
      : `${host} is no public address, and builds may ask such only where stagex:network lists them as private`,
  );
}
