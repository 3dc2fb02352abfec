import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request as requestInClear } from "node:http";
import { request, Agent as SecureAgent } from "node:https";
import type { LookupFunction } from "node:net";
import { type EnvironmentProxy, proxyFor } from "./environment-proxy.ts";

export type OutgoingRequest = {
  readonly headers: OutgoingHttpHeaders;
  /** Ends the request at any time, also while a proxy makes the connection. */
  readonly signal: AbortSignal;
  /** The only authorities to trust (PEM); Node's own by default. */
  readonly ca?: string | undefined;
  /** GET by default. */
  readonly method?: string;
  readonly body?: Buffer | undefined;
  /**
   * Resolves the host's name, where no proxy does. The request then gets a connection of its own,
   * since a kept one may lead to another address.
   */
  readonly lookup?: LookupFunction | undefined;
  /** Milliseconds without a byte after which the request fails; none by default. */
  readonly idle?: number;
};

/**
 * Sends one request by http or https, through the proxy that the environment names, and follows no
 * redirect. Node's own `fetch` unpacks bodies and uses no proxy.
 * @returns the response as soon as its headers are there
 * @throws the network's error with its `code`; an AbortError where the signal ends the request
 */
export function sendRequest(url: URL, options: OutgoingRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method = "GET", headers, signal, ca, body, lookup, idle } = options;
    const proxy = proxyFor(url);
    const agent = proxy && agentThrough(proxy, url, signal);
    const way = agent ? { agent } : lookup ? { agent: false, lookup } : {};
    const common = { method, headers, signal, ...way, ...(idle === undefined ? {} : { timeout: idle }) };
    const outgoing =
      url.protocol === "http:"
        ? requestInClear(url, common, resolve)
        : request(url, { ...common, ...(ca === undefined ? {} : { ca }) }, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no byte for ${(idle ?? 0) / 1000} s`)));
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      // The server closed a kept connection just before it was used again: the request is sent
      // again.
      if (outgoing.reusedSocket && error.code === "ECONNRESET" && !signal.aborted)
        resolve(sendRequest(url, options));
      else reject(proxy && !signal.aborted ? proxied(error, proxy) : error);
    });
    outgoing.end(body);
  });
}

/** The rest of a body, in bytes, that is read so that its connection can be kept. */
const remainder = 16 * 1024;

/**
 * Discards the rest of a response. Where little is left, the connection is kept for the next
 * request.
 */
export function discardResponse(answer: IncomingMessage): void {
  if (Number(answer.headers["content-length"] ?? Number.NaN) <= remainder) answer.resume();
  else answer.destroy();
}

function agentThrough({ url: proxy }: EnvironmentProxy, { protocol }: URL, signal: AbortSignal): Agent {
  if (protocol === "http:") return new Agent({ proxyEnv: { HTTP_PROXY: proxy } });
  return new TunnelAgent(proxy, signal);
}

/**
 * Connects through a tunnel (RFC 9110, 9.3.6). Node's own agent ignores signals until the tunnel is
 * there.
 */
class TunnelAgent extends SecureAgent {
  readonly #signal: AbortSignal;

  constructor(proxy: string, signal: AbortSignal) {
    super({ proxyEnv: { HTTPS_PROXY: proxy } });
    this.#signal = signal;
  }

  override createConnection(
    ...args: Parameters<SecureAgent["createConnection"]>
  ): ReturnType<SecureAgent["createConnection"]> {
    const socket = super.createConnection(...args);
    const end = (): unknown => socket?.destroy(new DOMException("the request was ended", "AbortError"));
    if (this.#signal.aborted) end();
    this.#signal.addEventListener("abort", end, { once: true });
    socket?.once("close", () => this.#signal.removeEventListener("abort", end));
    return socket;
  }
}

/**
 * Adds the proxy to an error. The proxy's own text is left out, since it may repeat the
 * credentials.
 */
function proxied(error: NodeJS.ErrnoException, { variable, redactedUrl }: EnvironmentProxy): Error {
  const status = "statusCode" in error ? error.statusCode : undefined;
  const reason =
    error.code === "ERR_PROXY_TUNNEL" && typeof status === "number"
      ? `it answered ${status} to CONNECT`
      : error.message;
  const { code } = error;
  return Object.assign(
    new Error(`through the proxy ${redactedUrl} (${variable}): ${reason}`, { cause: error }),
    {
      code,
    },
  );
}
