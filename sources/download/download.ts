import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ResolveAddresses } from "../../lib/net/checked-lookup.ts";
import { sendRequest } from "../../lib/net/outgoing-request.ts";
import { NearAddressError } from "../../lib/net/redirect-rule.ts";
import { followRedirects, RedirectError } from "../../lib/net/redirected-request.ts";
import { printableLine } from "../../lib/text/printable.ts";
import { HostDownError, type MirrorHosts, maxPause } from "./mirror-hosts.ts";
import type { PartialFile } from "./partial-file.ts";

// Node's own https, not fetch: fetch unpacks a body that a server labels "Content-Encoding: gzip".
// Many servers do so with every .tar.gz, and the hash must be of the bytes as published.

export type DownloadOptions = {
  /** The only authorities to trust (PEM). Default: Node's own. */
  readonly ca?: string;
  /** Resolves the names that redirects lead to. Default: the system's resolver. */
  readonly resolveAddresses?: ResolveAddresses;
  /** Milliseconds after which a connection counts as broken, if hardly a byte has come. */
  readonly idleTimeout: number;
  /** The largest size of a source, in bytes. */
  readonly sizeLimit: number;
  /** The lowest average speed of a mirror, in bytes per second, after {@link probation}. */
  readonly average: number;
  /** Milliseconds during which a mirror may be slower than {@link average}. */
  readonly probation: number;
  /** Milliseconds that one mirror may take for one file of any size, all attempts included. */
  readonly longest: number;
  /** The most attempts at one mirror, before the next is asked. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; each later one waits twice as long. */
  readonly backoff: number;
  /** True if redirects to http are refused. */
  readonly httpsOnly: boolean;
  /** The state of the mirrors' hosts in this run. */
  readonly hosts: MirrorHosts;
  readonly signal: AbortSignal;
  /** Called with the bytes so far, and the total if the server sends it. */
  readonly onBytes: (received: number, total: number | null) => void;
};

/** Raised where a mirror does not give the file. `isTransient`: a later attempt may succeed. */
export class MirrorError extends Error {
  readonly isTransient: boolean;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter: number | null;
  /** The requested URL, if no answer came at all. */
  readonly unanswered: URL | null;
  /** True if the server answers that it has no such file. */
  readonly isAbsent: boolean;

  constructor(
    message: string,
    isTransient: boolean,
    {
      retryAfter = null,
      unanswered = null,
      isAbsent = false,
    }: Partial<Pick<MirrorError, "retryAfter" | "unanswered" | "isAbsent">> = {},
  ) {
    super(printableLine(message));
    this.name = "MirrorError";
    this.isTransient = isTransient;
    this.retryAfter = retryAfter;
    this.unanswered = unanswered;
    this.isAbsent = isAbsent;
  }
}

const redirectLimit = 10;
/** The number of attempts at a host that gives no answer, before it counts as down. */
const unansweredAttempts = 3;
/**
 * The lowest speed of a live connection in bytes per second, over {@link
 * DownloadOptions.idleTimeout}.
 */
const minRate = 512;

const transientCodes = [
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EAI_AGAIN",
  "ECONNABORTED",
  "HPE_INVALID_EOF_STATE",
];

/**
 * Downloads a file into a partial one, continuing where that ends. Repeats transient failures with
 * growing pauses, and resumes broken connections. Ends after {@link DownloadOptions.longest}. A
 * host that gives no answer is asked no more in this run.
 * @returns the media type of the last answer; empty where it names none
 * @throws MirrorError when this mirror has failed for good; the signal's reason when aborted; the
 *   file system's error when the file can't be written
 */
export async function download(mirror: string, into: PartialFile, given: DownloadOptions): Promise<string> {
  const url = new URL(mirror);
  const expired = AbortSignal.timeout(given.longest);
  const options = { ...given, signal: AbortSignal.any([given.signal, expired]) };
  const pace = new Pace(options);
  let validator: string | null = null;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await options.hosts.ask(url, options.signal, () =>
        transfer(url, into, validator, { ...options, pace }, (found) => {
          validator = found;
        }),
      );
    } catch (error) {
      if (given.signal.aborted) throw given.signal.reason;
      if (expired.aborted) throw new MirrorError(`not done after ${given.longest / 1000} s`, false);
      if (error instanceof HostDownError) throw new MirrorError(error.message, false);
      if (!(error instanceof MirrorError)) throw error;
      const { unanswered, retryAfter } = error;
      if (retryAfter !== null) options.hosts.pause(url, retryAfter);
      const most = unanswered === null ? options.attempts : Math.min(unansweredAttempts, options.attempts);
      if (!error.isTransient || attempt >= most) {
        if (unanswered !== null) options.hosts.markDown(unanswered, error.message);
        throw error.isTransient ? new MirrorError(`${error.message} (asked ${attempt} times)`, false) : error;
      }
      if (retryAfter !== null && retryAfter > maxPause) {
        throw new MirrorError(`${error.message}, and asks to wait ${retryAfter / 1000} s`, false);
      }
      const wait = retryAfter ?? options.backoff * 2 ** (attempt - 1);
      await sleep(wait, undefined, { signal: options.signal }).catch(() => given.signal.throwIfAborted());
    }
  }
}

/**
 * Returns a URL for error messages: without password, and without the query, where redirects carry
 * signatures.
 */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

async function transfer(
  url: URL,
  into: PartialFile,
  validator: string | null,
  options: DownloadOptions & { readonly pace: Pace },
  onValidator: (validator: string | null) => void,
): Promise<string> {
  options.pace.begin();
  using watch = new Watch(options.idleTimeout, options.signal);
  const asked = into.size;
  const answer = await ask(url, rangeHeaders(asked, validator), watch, options);
  try {
    const total = await begin(answer, asked, into);
    onValidator(validatorOf(answer));
    if (total !== null && total > options.sizeLimit) throw tooLarge(total, options);
    for await (const chunk of bytesOf(answer, watch)) {
      if (into.size + chunk.length > options.sizeLimit) throw tooLarge(into.size + chunk.length, options);
      await into.write(chunk);
      options.onBytes(into.size, total);
      options.pace.count(chunk.length);
    }
    if (total !== null && into.size < total) {
      throw new MirrorError(`the connection broke after ${into.size} of ${total} bytes`, true);
    }
    return answer.headers["content-type"] ?? "";
  } finally {
    answer.destroy();
  }
}

/** Sends the request, and follows redirects. The hash of the whole file guards the bytes. */
async function ask(
  first: URL,
  headers: Record<string, string>,
  watch: Watch,
  options: DownloadOptions,
): Promise<IncomingMessage> {
  const { signal } = watch;
  const { ca, resolveAddresses, httpsOnly } = options;
  const send = async (url: URL, lookup: LookupFunction | undefined) =>
    await sendRequest(url, { headers, signal, ca, lookup }).catch((error: unknown) => {
      throw error instanceof NearAddressError ? error : networkError(error, watch, url);
    });
  const redirects = { limit: redirectLimit, isHashed: !httpsOnly, resolveAddresses };
  return await followRedirects(first, send, redirects).catch((error: unknown) => {
    throw error instanceof RedirectError ? refusedRedirect(error) : error;
  });
}

function refusedRedirect({ problem: fault, to }: RedirectError): MirrorError {
  return new MirrorError(to ? `refused: redirects to ${redactUrl(to)}, which ${fault}` : fault, false);
}

/**
 * Checks the answer's status and prepares the partial file for its body.
 * @returns the file's whole size, if known
 */
async function begin(answer: IncomingMessage, asked: number, into: PartialFile): Promise<number | null> {
  const { statusCode = 0, statusMessage = "" } = answer;
  const length = wholeNumber(answer.headers["content-length"]);
  if (statusCode === 200) {
    await into.restart();
    into.startPiece();
    return length;
  }
  if (statusCode === 206 && asked > 0) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers["content-range"] ?? "");
    if (range?.[1] !== String(asked)) {
      await into.restart();
      throw new MirrorError("answers with another range than was asked for", true);
    }
    into.startPiece();
    return wholeNumber(range[2]);
  }
  if (statusCode === 416 && asked > 0) {
    await into.restart();
    throw new MirrorError("416: has fewer bytes than were there already", true);
  }
  const isTransient = statusCode === 429 || statusCode >= 500;
  throw new MirrorError(`${statusCode} ${statusMessage}`.trim(), isTransient, {
    retryAfter: isTransient ? retryAfterOf(answer) : null,
    isAbsent: [404, 410].includes(statusCode),
  });
}

function rangeHeaders(from: number, validator: string | null): Record<string, string> {
  const always = { "accept-encoding": "identity", "user-agent": "stagex-pulumi" };
  if (from === 0) return always;
  // Without a validator the bytes may be another file's; the hash of the whole file detects that.
  return { ...always, range: `bytes=${from}-`, ...(validator === null ? {} : { "if-range": validator }) };
}

/**
 * Returns the value for If-Range (RFC 9110, 13.1.5): a strong entity tag, else the time of the last
 * change.
 */
function validatorOf(answer: IncomingMessage): string | null {
  const { etag, "last-modified": modified } = answer.headers;
  return etag?.startsWith('"') === true ? etag : (modified ?? null);
}

/** Returns Retry-After in milliseconds (RFC 9110, 10.2.3). The header has seconds or a date. */
function retryAfterOf(answer: IncomingMessage): number | null {
  const text = answer.headers["retry-after"];
  if (text === undefined) return null;
  const seconds = wholeNumber(text);
  if (seconds !== null) return seconds * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}

async function* bytesOf(answer: IncomingMessage, watch: Watch): AsyncGenerator<Buffer> {
  const chunks: AsyncIterator<Buffer> = answer[Symbol.asyncIterator]();
  for (;;) {
    const next = await chunks.next().catch((error: unknown) => {
      throw networkError(error, watch);
    });
    if (next.done === true) return;
    watch.count(next.value.length);
    yield next.value;
  }
}

function networkError(error: unknown, watch: Watch, unanswered: URL | null = null): unknown {
  if (watch.isIdle) return new MirrorError("the connection was idle or too slow", true, { unanswered });
  if (!(error instanceof Error)) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (code === "ABORT_ERR") return error;
  const message = `${error.message}${code === "" ? "" : ` (${code})`}`;
  return new MirrorError(message, transientCodes.includes(code), { unanswered });
}

function tooLarge(size: number, options: DownloadOptions): MirrorError {
  return new MirrorError(`${size} bytes are over the limit of ${options.sizeLimit}`, false);
}

function wholeNumber(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/**
 * Rejects a mirror that is slow for long. It counts the bytes of all its answers, so breaking off
 * gains a mirror nothing.
 */
class Pace {
  readonly #options: DownloadOptions;
  #begun: number | undefined;
  #received = 0;

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  /** Starts the clock, once. The wait for a turn at the host does not count against the mirror. */
  begin(): void {
    this.#begun ??= performance.now();
  }

  count(bytes: number): void {
    this.#received += bytes;
    const { average, probation } = this.#options;
    const elapsed = performance.now() - (this.#begun ?? performance.now());
    if (elapsed < probation || this.#received >= (average * elapsed) / 1000) return;
    throw new MirrorError(`too slow: less than ${average} bytes a second`, false);
  }
}

/** Aborts a request when the outer signal aborts, or when hardly a byte comes. */
class Watch implements Disposable {
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  readonly #idle = new AbortController();
  #received = 0;

  constructor(interval: number, outside: AbortSignal) {
    this.signal = AbortSignal.any([outside, this.#idle.signal]);
    const minBytes = (minRate * interval) / 1000;
    this.#timer = setInterval(() => {
      if (this.#received < minBytes) this.#idle.abort();
      this.#received = 0;
    }, interval);
  }

  get isIdle(): boolean {
    return this.#idle.signal.aborted;
  }

  count(bytes: number): void {
    this.#received += bytes;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
