import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request as requestInClear } from "node:http";
import { request, Agent as SecureAgent } from "node:https";
import type { LookupFunction } from "node:net";
import { type EnvironmentProxy, proxyFor } from "./environment-proxy.ts";

export type OutgoingRequest = {
  readonly headers: OutgoingHttpHeaders;
  /** Ends the request at any time, also while a proxy makes the connection. */
  readonly signal: AbortSignal;
  /** The only authorities to trust (PEM); those Node knows where it is not given. */
  readonly ca?: string | undefined;
  /** What is asked, GET where it is not given; and what is sent along. */
  readonly method?: string;
  readonly body?: Buffer | undefined;
  /**
   * Finds the addresses of the host, where no proxy does. The connection is then one of its own: where a kept one leads, another request
   * has asked for.
   */
  readonly lookup?: LookupFunction | undefined;
  /** Milliseconds without a byte after which the connection counts as broken. Never where not given. */
  readonly idle?: number;
};

/**
 * Sends one request by http or https, through the proxy that the environment names for it, and follows no redirect. Node's own
 * `fetch` unpacks bodies and heeds no proxy.
 * @returns the answer as soon as its headers are there
 * @throws the network's error with its `code`; the error of a signal that ends it is an AbortError
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
      // The server has ended a kept connection just before it was used again: that is no answer.
      if (outgoing.reusedSocket && error.code === "ECONNRESET" && !signal.aborted)
        resolve(sendRequest(url, options));
      else reject(proxy && !signal.aborted ? proxied(error, proxy) : error);
    });
    outgoing.end(body);
  });
}

/** What an answer may still have, in bytes, for its connection to be kept. */
const remainder = 16 * 1024;

/** Reads no more of an answer. Where little of it is left the connection is kept for the next request. */
export function discardResponse(answer: IncomingMessage): void {
  if (Number(answer.headers["content-length"] ?? Number.NaN) <= remainder) answer.resume();
  else answer.destroy();
}

function agentThrough({ url: proxy }: EnvironmentProxy, { protocol }: URL, signal: AbortSignal): Agent {
  if (protocol === "http:") return new Agent({ proxyEnv: { HTTP_PROXY: proxy } });
  return new TunnelAgent(proxy, signal);
}

/** Asks through a tunnel (RFC 9110, 9.3.6). Node's own agent heeds no signal before the tunnel is there. */
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

/** Says that the error came by way of the proxy. What a proxy itself wrote is left out: it may repeat the credentials. */
function proxied(error: NodeJS.ErrnoException, { variable, redactedUrl: shown }: EnvironmentProxy): Error {
  const status = "statusCode" in error ? error.statusCode : undefined;
  const reason =
    error.code === "ERR_PROXY_TUNNEL" && typeof status === "number"
      ? `it answered ${status} to CONNECT`
      : error.message;
  const { code } = error;
  return Object.assign(new Error(`through the proxy ${shown} (${variable}): ${reason}`, { cause: error }), {
    code,
  });
}
