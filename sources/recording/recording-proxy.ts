import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { openRegularFile } from "../../lib/fs/regular-file.ts";
import { bareHost } from "../../lib/net/address-scope.ts";
import { SourceError } from "../download/source-error.ts";
import type { SourceCache } from "../source-cache.ts";
import { fetchLimits } from "./fetch-limits.ts";
import { type FetchAnswer, type FetchRequest, maxValueLength, requestKey } from "./fetch-record.ts";
import { ProxyProblems } from "./proxy-problems.ts";
import {
  isClientGone,
  isReadOnly,
  messageOf,
  parseMethod,
  parseRequestUrl,
  pickRecordedHeaders,
  type RequestWithBody,
  refusalText,
} from "./proxy-request.ts";
import { sendUpstream, UpstreamError, type UpstreamOptions } from "./upstream.ts";

// Node's own http and tls suffice: a certificate for each host, and requests passed on. The
// libraries for it (mockttp, http-mitm-proxy) bring dozens of packages for features not needed
// here: rules, rewriting, other protocols.

export type RecordingProxyOptions = {
  readonly cache: SourceCache;
  /** The only allowed answers, when a build is replayed; undefined when one is recorded. */
  readonly known: readonly FetchAnswer[] | undefined;
  readonly upstream: UpstreamOptions;
  /** Makes a key and a certificate for a host, signed by the authority that clients were given. */
  readonly certify: (host: string) => Promise<{ readonly key: string; readonly certificate: string }>;
  readonly onRequest?: (url: string) => void;
  readonly limits?: Partial<typeof fetchLimits>;
};

/** Statuses of a passing fault of the server: such an answer is passed on, but not recorded. */
const transientStatuses = new Set([408, 425, 429]);

/**
 * A proxy on a unix socket, for the steps of one build that fetch. It answers each request from a
 * record, or asks upstream and records. Clients speak TLS with it by certificates of its own. It
 * collects the requests that it must not answer: see {@link problems}.
 */
export class RecordingProxy {
  readonly #options: RecordingProxyOptions;
  readonly #limits: typeof fetchLimits;
  readonly #outer: Server;
  readonly #inner: Server;
  readonly #hosts = new WeakMap<Duplex, string>();
  readonly #contexts = new Map<string, Promise<SecureContext>>();
  readonly #known: ReadonlyMap<string, FetchAnswer> | undefined;
  /** The answer of each request, once there is one; undefined where there was none to record. */
  readonly #answers = new Map<string, Promise<FetchAnswer | undefined>>();
  readonly #recorded: FetchAnswer[] = [];
  readonly #problems = new ProxyProblems();
  readonly #sockets = new Set<Duplex>();
  readonly #ended = new AbortController();
  readonly #recording = new Set<Promise<unknown>>();
  #received = 0;
  #sending = 0;
  #requests = 0;

  private constructor(options: RecordingProxyOptions) {
    this.#options = options;
    this.#limits = { ...fetchLimits, ...options.limits };
    this.#known = options.known && new Map(options.known.map((answer) => [requestKey(answer), answer]));
    this.#outer = createServer((request, response) => void this.#serve(request.url ?? "", request, response));
    this.#inner = createServer((request, response) => {
      const host = this.#hosts.get(request.socket) ?? "";
      void this.#serve(`https://${host}${request.url ?? ""}`, request, response);
    });
    this.#outer.maxConnections = this.#limits.connections;
    this.#outer.on(
      "connect",
      (request: IncomingMessage, socket: Socket) => void this.#tunnel(request, socket),
    );
    this.#outer.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** Listens on the path until `close`. The path's folder must be accessible to this user alone. */
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

  /** The answers recorded so far, one for each request. */
  get answers(): readonly FetchAnswer[] {
    return this.#recorded;
  }

  /** The reasons why the build must not use its fetches: requests without an answer, each named. */
  get problems(): readonly string[] {
    return this.#problems.texts;
  }

  /**
   * Requests that would change something upstream, or report usage: the notifications that clients
   * send to registries. Recording and replaying reject them alike, so a build that does without is
   * sound.
   */
  get refusals(): readonly string[] {
    return this.#problems.refusalTexts;
  }

  /**
   * Waits until each request's answer is recorded, or has failed. A client may close before that.
   * The limits of requests bound the wait.
   */
  async waitForRecordings(): Promise<void> {
    while (this.#recording.size > 0) await Promise.allSettled(this.#recording);
  }

  async close(): Promise<void> {
    this.#ended.abort();
    const closed = once(this.#outer, "close");
    this.#outer.close();
    this.#inner.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #problem(text: string, subject?: string): void {
    if (!this.#ended.signal.aborted) this.#problems.add(text, subject);
  }

  /** Answers CONNECT, and then acts as the host that the client asked for. */
  async #tunnel(request: IncomingMessage, socket: Socket): Promise<void> {
    socket.on("error", () => socket.destroy());
    const [, host, port] = /^(\[[\da-f:.]+\]|[\w.-]{1,253}):(\d{1,5})$/i.exec(request.url ?? "") ?? [];
    if (host === undefined || port === undefined) return void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    try {
      const secureContext = await this.#contextOf(host.toLowerCase());
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      const secured = new TLSSocket(socket, { isServer: true, secureContext });
      secured.on("error", (error) => this.#reportDistrust(host, error));
      this.#hosts.set(secured, port === "443" ? host : `${host}:${port}`);
      this.#inner.emit("connection", secured);
    } catch (error) {
      this.#problem(`${host}: ${messageOf(error)}`);
      socket.destroy();
    }
  }

  /** Reports a client that rejects our certificate. Other errors are closed connections. */
  #reportDistrust(host: string, error: Error): void {
    if (/alert (?:unknown ca|bad certificate|certificate unknown)/i.test(error.message))
      this.#problem(
        `a program does not trust the proxy's certificate for ${host}: it has authorities of its own`,
      );
  }

  #contextOf(host: string): Promise<SecureContext> {
    const made = this.#contexts.get(host);
    if (made) return made;
    if (this.#contexts.size >= this.#limits.hosts)
      return Promise.reject(new Error(`the build asks more than ${this.#limits.hosts} hosts`));
    const making = this.#options
      .certify(bareHost(host))
      .then(({ key, certificate }) => createSecureContext({ key, cert: certificate }));
    this.#contexts.set(host, making);
    return making;
  }

  async #serve(address: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#requests++;
    if (this.#requests > this.#limits.requests) {
      this.#problem(`the build makes more than ${this.#limits.requests} requests`);
      return void response.destroy();
    }
    const isName = address.startsWith("/name/");
    if (!isName && !isReadOnly(request.method, address)) {
      this.#problems.addRefusal(`${request.method} ${address}`);
      request.resume();
      return void response
        .writeHead(405, { allow: "GET, HEAD", "content-type": "text/plain" })
        .end(`${refusalText}\n`);
    }
    const name = `${request.method} ${address}`;
    // Requests of one address may differ in their Accept header or body.
    let key = name;
    try {
      if (isName) this.#reportNameLookup(address.slice("/name/".length));
      else {
        const asked = await this.#readRequest(address, request);
        key = requestKey(asked);
        if (await this.#answer(asked, request, response)) this.#problems.settle(key);
        else
          this.#problem(`${name}: answered with status ${response.statusCode}, which is not recorded`, key);
      }
      if (!response.headersSent) response.writeHead(204);
      response.end();
    } catch (error) {
      // A client that has gone away asks again, if it still wants an answer.
      if (!isClientGone(request, error)) this.#problem(`${name}: ${messageOf(error)}`, key);
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { "content-type": "text/plain" }).end(`${messageOf(error)}\n`);
    }
  }

  /** Reports a program that asks the container's name server, and so does not use the proxy. */
  #reportNameLookup(name: string): void {
    const host = decodeURIComponent(name).replace(/\.$/, "");
    this.#problem(`a program asks for the address of ${host} itself, and so does not use the proxy`);
  }

  /** Reads a whole request, and throws an Error where it could not be recorded. */
  async #readRequest(address: string, incoming: IncomingMessage): Promise<RequestWithBody> {
    const url = parseRequestUrl(address);
    const body = await this.#readBody(incoming);
    const { accept, "git-protocol": gitProtocol } = incoming.headers;
    if (url.href.length > maxValueLength || (accept ?? "").length > maxValueLength)
      throw new Error(`its address or what it accepts has more than ${maxValueLength} characters`);
    return {
      method: parseMethod(incoming.method),
      url: url.href,
      ...(accept === undefined || accept === "*/*" ? {} : { accept }),
      ...(typeof gitProtocol === "string" ? { gitProtocol } : {}),
      ...(body ? { sent: createHash("sha256").update(body).digest("hex"), body } : {}),
    };
  }

  /** Reads the body of a POST. Other methods' bodies have no meaning, and are dropped. */
  async #readBody(request: IncomingMessage): Promise<Buffer | undefined> {
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        if (request.method !== "POST") continue;
        size += chunk.length;
        this.#sending += chunk.length;
        if (size > this.#limits.sent) throw new Error(`it sends more than ${this.#limits.sent} bytes`);
        if (this.#sending > this.#limits.sending) throw new Error("the build sends too much at once");
        chunks.push(chunk);
      }
    } finally {
      this.#sending -= size;
    }
    return request.method === "POST" ? Buffer.concat(chunks) : undefined;
  }

  /** Returns true if the answer is final: one of the record, or a new one that is recorded. */
  async #answer(
    asked: RequestWithBody,
    incoming: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    const { body, ...request } = asked;
    const key = requestKey(request);
    let known = this.#known?.get(key);
    // Of equal requests one is recorded. After one that failed, the next is.
    for (let earlier = this.#answers.get(key); earlier && !known; earlier = this.#answers.get(key)) {
      known = await earlier;
      if (!known && this.#answers.get(key) === earlier) this.#answers.delete(key);
    }
    if (known) {
      await this.#replay(known, response);
      return true;
    }
    if (this.#known) throw new Error("it is not in the fetch record, and nothing else is asked");
    const recording = this.#record(request, incoming, body, response);
    const noted = recording.catch(() => undefined);
    this.#answers.set(key, noted);
    this.#recording.add(noted);
    void noted.finally(() => this.#recording.delete(noted));
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
    const { handle, size: found } = await openRegularFile(path, this.#limits.answer);
    if (found !== size) {
      await handle.close();
      throw new Error(`its fetch record tells ${size} bytes of an answer of ${found}`);
    }
    response.writeHead(status, { ...headers, ...length });
    await pipeline(handle.createReadStream(), response);
  }

  /** Asks upstream, and passes the answer on while writing it to the cache. */
  async #record(
    request: FetchRequest,
    { headers }: IncomingMessage,
    body: Buffer | undefined,
    response: ServerResponse,
  ): Promise<FetchAnswer | undefined> {
    this.#options.onRequest?.(request.url);
    if (this.#recorded.length >= this.#limits.answers)
      throw new Error(`the build makes more than ${this.#limits.answers} requests`);
    const answer = await sendUpstream(request, { headers, body }, this.#options.upstream, this.#ended.signal);
    const { statusCode: status = 0 } = answer;
    const kept = pickRecordedHeaders(answer.headers);
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
      // The host's answer broke off, whatever the cause: not a client that has gone away.
      throw new UpstreamError(messageOf(error), { cause: error });
    }
    if (status >= 500 || transientStatuses.has(status)) {
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
