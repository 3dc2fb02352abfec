import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import {
  type FetchAnswer,
  type FetchRequest,
  keptHeaders,
  methods,
  mostAnswers,
  requestKey,
} from "../distro/fetch-record.ts";
import { openRegularFile } from "../lib/regular-file.ts";
import type { SourceCache } from "./source-cache.ts";
import { SourceError } from "./source-error.ts";
import { askUpstream, type UpstreamOptions } from "./upstream.ts";

// Node's own http and tls do it: a certificate for each host, and requests handed on. The libraries for it (mockttp, http-mitm-proxy)
// bring dozens of packages for what is not wanted here: rules, rewriting, other protocols.

export type RecordingProxyOptions = {
  readonly cache: SourceCache;
  /** What may be answered, of a build that is replayed; undefined where requests go out and are recorded. */
  readonly known: readonly FetchAnswer[] | undefined;
  readonly upstream: UpstreamOptions;
  /** Makes a key and a certificate for a host, by the authority that clients were given. */
  readonly certify: (host: string) => Promise<{ readonly key: string; readonly certificate: string }>;
  readonly onRequest?: (url: string) => void;
  readonly limits?: Partial<typeof fetchLimits>;
};

/** In bytes, but `time`, in milliseconds. */
export const fetchLimits = {
  answer: 2 * 1024 ** 3,
  sent: 8 * 1024 ** 2,
  total: 16 * 1024 ** 3,
  time: 3 * 3600_000,
  answers: mostAnswers,
};

/** How many problems are kept to be named. */
const mostProblems = 20;

/** Says that the server is at fault and may do better: such an answer is passed on, and not recorded. */
const passing = new Set([408, 425, 429]);

/**
 * A proxy on a unix socket, for the steps of one build that fetch. It answers each request from a record, or asks upstream and
 * records. Clients speak TLS with it by certificates of its own. What it must not answer is remembered: see {@link problems}.
 */
export class RecordingProxy {
  readonly #options: RecordingProxyOptions;
  readonly #limits: typeof fetchLimits;
  readonly #outer: Server;
  readonly #inner: Server;
  readonly #hosts = new WeakMap<Duplex, string>();
  readonly #contexts = new Map<string, Promise<SecureContext>>();
  readonly #known: ReadonlyMap<string, FetchAnswer> | undefined;
  /** Of each request, its answer once there is one; undefined where there was none to record. */
  readonly #answers = new Map<string, Promise<FetchAnswer | undefined>>();
  readonly #recorded: FetchAnswer[] = [];
  /** By what they are about, so that a request that is answered at last is none. */
  readonly #problems = new Map<string, string>();
  readonly #refusals = new Set<string>();
  readonly #sockets = new Set<Duplex>();
  readonly #ended = new AbortController();
  #received = 0;

  private constructor(options: RecordingProxyOptions) {
    this.#options = options;
    this.#limits = { ...fetchLimits, ...options.limits };
    this.#known = options.known && new Map(options.known.map((answer) => [requestKey(answer), answer]));
    this.#outer = createServer((request, response) => void this.#serve(request.url ?? "", request, response));
    this.#inner = createServer((request, response) => {
      const host = this.#hosts.get(request.socket) ?? "";
      void this.#serve(`https://${host}${request.url ?? ""}`, request, response);
    });
    this.#outer.on(
      "connect",
      (request: IncomingMessage, socket: Socket) => void this.#tunnel(request, socket),
    );
    this.#outer.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** Listens on the path, whose folder must be this user's alone. It ends with `close`. */
  static async listen(path: string, options: RecordingProxyOptions): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(options);
    proxy.#outer.listen(path);
    await once(proxy.#outer, "listening");
    await chmod(path, 0o600);
    const timer = setTimeout(() => {
      proxy.#problem(`the build has fetched for more than ${proxy.#limits.time / 60_000} minutes`);
      proxy.#ended.abort();
    }, proxy.#limits.time);
    proxy.#outer.on("close", () => clearTimeout(timer));
    return proxy;
  }

  /** What was recorded so far, each request once. */
  get answers(): readonly FetchAnswer[] {
    return this.#recorded;
  }

  /** Why nothing may be built of what was fetched: requests that had no answer, each named. */
  get problems(): readonly string[] {
    return [...this.#problems.values()].slice(0, mostProblems);
  }

  /**
   * Requests that would change something there, or tell of us: what clients notify registries of. They are answered alike when it is
   * recorded and when it is replayed, so nothing is wrong with a build that does without.
   */
  get refusals(): readonly string[] {
    return [...this.#refusals].slice(0, mostProblems).map((request) => `${request}: ${refusal}`);
  }

  async close(): Promise<void> {
    this.#ended.abort();
    const closed = once(this.#outer, "close");
    this.#outer.close();
    this.#inner.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** @param about what makes it none once it is answered; the text itself where nothing does */
  #problem(text: string, about: string = text): void {
    if (!this.#ended.signal.aborted) this.#problems.set(about, text);
  }

  /** Takes the place of the host that a client asks to be connected with. */
  async #tunnel(request: IncomingMessage, socket: Socket): Promise<void> {
    socket.on("error", () => socket.destroy());
    const [, host, port] = /^(\[[\da-f:.]+\]|[\w.-]{1,253}):(\d{1,5})$/i.exec(request.url ?? "") ?? [];
    if (host === undefined || port === undefined) return void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    try {
      const secureContext = await this.#contextOf(host.toLowerCase());
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      const secured = new TLSSocket(socket, { isServer: true, secureContext });
      secured.on("error", (error) => this.#distrust(host, error));
      this.#hosts.set(secured, port === "443" ? host : `${host}:${port}`);
      this.#inner.emit("connection", secured);
    } catch (error) {
      this.#problem(`${host}: ${messageOf(error)}`);
      socket.destroy();
    }
  }

  /** Tells of a client that does not take our certificate; other errors are connections that a client gave up. */
  #distrust(host: string, error: Error): void {
    if (/alert (?:unknown ca|bad certificate|certificate unknown)/i.test(error.message))
      this.#problem(
        `a program does not trust the proxy's certificate for ${host}: it has authorities of its own`,
      );
  }

  #contextOf(host: string): Promise<SecureContext> {
    const made = this.#contexts.get(host);
    if (made) return made;
    const making = this.#options
      .certify(host.replace(/^\[|\]$/g, ""))
      .then(({ key, certificate }) => createSecureContext({ key, cert: certificate }));
    this.#contexts.set(host, making);
    return making;
  }

  async #serve(address: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!address.startsWith("/name/") && !isReading(request.method, address)) {
      this.#refusals.add(`${request.method} ${address}`);
      request.resume();
      return void response
        .writeHead(405, { allow: "GET, HEAD", "content-type": "text/plain" })
        .end(`${refusal}\n`);
    }
    const about = `${request.method} ${address}`;
    try {
      if (address.startsWith("/name/")) this.#resolved(address.slice("/name/".length));
      else if (await this.#answer(address, request, response)) this.#problems.delete(about);
      else
        this.#problem(`${about}: answered with status ${response.statusCode}, which is not recorded`, about);
      if (!response.headersSent) response.writeHead(204);
      response.end();
    } catch (error) {
      // A client that has gone away asks again, if it still wants an answer.
      if (!isGone(request, error)) this.#problem(`${about}: ${messageOf(error)}`, about);
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { "content-type": "text/plain" }).end(`${messageOf(error)}\n`);
    }
  }

  /** A program has asked the container's name server, which whoever uses the proxy has no need to. */
  #resolved(name: string): void {
    const host = decodeURIComponent(name).replace(/\.$/, "");
    this.#problem(`a program asks for the address of ${host} itself, and so does not use the proxy`);
  }

  /** @returns whether it is an answer for good */
  async #answer(address: string, incoming: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const url = askedFor(address);
    const body = await bodyOf(incoming, this.#limits.sent);
    const { accept, "git-protocol": gitProtocol } = incoming.headers;
    const request: FetchRequest = {
      method: methodOf(incoming.method),
      url: url.href,
      ...(accept === undefined || accept === "*/*" ? {} : { accept }),
      ...(typeof gitProtocol === "string" ? { gitProtocol } : {}),
      ...(body ? { sent: createHash("sha256").update(body).digest("hex") } : {}),
    };
    const key = requestKey(request);
    const earlier = await this.#answers.get(key);
    const known = earlier ?? this.#known?.get(key);
    if (known) {
      await this.#replay(known, response);
      return true;
    }
    if (this.#known) throw new Error("it is not in the fetch record, and nothing else is asked");
    const recording = this.#record(request, incoming, body, response);
    this.#answers.set(
      key,
      recording.catch(() => undefined),
    );
    return (await recording) !== undefined;
  }

  async #replay(answer: FetchAnswer, response: ServerResponse): Promise<void> {
    const { sha256, size, status, headers, url } = answer;
    const length = size === null ? {} : { "content-length": size };
    if (sha256 === null) return void response.writeHead(status, { ...headers, ...length }).end();
    const source = { name: url, file: sha256, sha256, mirrors: [] };
    const options = { signal: this.#ended.signal, isVaultOnly: true };
    const path = await this.#options.cache.obtain(source, options).catch((error: unknown) => {
      if (!(error instanceof SourceError)) throw error;
      const lost = `the recorded answer, sha256 ${sha256}, is neither here nor in stagex:vault`;
      throw new Error(`${lost}; get it with: stagex fetch`, { cause: error });
    });
    const { handle } = await openRegularFile(path, this.#limits.answer);
    response.writeHead(status, { ...headers, ...length });
    await pipeline(handle.createReadStream(), response);
  }

  /** Asks upstream, and passes the answer on while it is written down. */
  async #record(
    request: FetchRequest,
    { headers }: IncomingMessage,
    body: Buffer | undefined,
    response: ServerResponse,
  ): Promise<FetchAnswer | undefined> {
    this.#options.onRequest?.(request.url);
    if (this.#recorded.length >= this.#limits.answers)
      throw new Error(`the build makes more than ${this.#limits.answers} requests`);
    const answer = await askUpstream(request, { headers, body }, this.#options.upstream, this.#ended.signal);
    const { statusCode: status = 0 } = answer;
    const kept = keptOf(answer.headers);
    const length = answer.headers["content-length"];
    response.writeHead(status, { ...kept, ...(length === undefined ? {} : { "content-length": length }) });
    const file = await this.#options.cache.receive();
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        this.#received += chunk.length;
        if (file.size() + chunk.length > this.#limits.answer)
          throw new Error(`the answer has more than ${this.#limits.answer} bytes`);
        if (this.#received > this.#limits.total)
          throw new Error(`the build fetches more than ${this.#limits.total} bytes`);
        await file.write(chunk);
        if (!response.write(chunk) && !response.destroyed)
          await Promise.race([once(response, "drain"), once(response, "close")]);
      }
    } catch (error) {
      await file.discard();
      throw error;
    }
    if (status >= 500 || passing.has(status)) {
      await file.discard();
      return undefined;
    }
    const isHead = request.method === "HEAD";
    const size = isHead ? (length === undefined ? null : Number(length)) : file.size();
    if (isHead) await file.discard();
    const noted = { ...request, status, headers: kept, sha256: isHead ? null : await file.keep(), size };
    this.#recorded.push(noted);
    return noted;
  }
}

const refusal = "only GET, HEAD and git's fetch are passed on";

/** Whether a request only reads: GET, HEAD, and the POST by which git fetches (gitprotocol-http(5)). */
function isReading(method: string | undefined, address: string): boolean {
  if (method === "POST") return URL.parse(address)?.pathname.endsWith("/git-upload-pack") === true;
  return methods.some((name) => name === method);
}

function methodOf(method: string | undefined): FetchRequest["method"] {
  return methods.find((name) => name === method) ?? "GET";
}

/** @throws Error for an address that is not asked, whatever the method */
function askedFor(address: string): URL {
  const url = new URL(address);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new Error(`${url.protocol} is not asked`);
  if (url.username !== "" || url.password !== "") throw new Error("credentials in a URL would be recorded");
  url.hash = "";
  return url;
}

async function bodyOf(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new Error(`it sends more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return request.method === "POST" ? Buffer.concat(chunks) : undefined;
}

/** Whether the client closed the connection before it had its answer. */
function isGone(request: IncomingMessage, error: unknown): boolean {
  const isCut = error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE";
  return isCut || (request.destroyed && !request.complete);
}

function keptOf(headers: IncomingMessage["headers"]): FetchAnswer["headers"] {
  return Object.fromEntries(
    keptHeaders.flatMap((name) => {
      const value = headers[name];
      return typeof value === "string" ? [[name, value]] : [];
    }),
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
