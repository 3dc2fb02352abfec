import { escapeControlCharacters } from "../lib/escape-control-characters.ts";

/**
 * What can go wrong at a registry, by name:
 * - `unreachable`: nobody answers at its address, or its certificate is not accepted;
 * - `refused`: it wants other credentials (401, 403);
 * - `absent`: it does not have what was asked for (404);
 * - `overloaded`: it still answered 429 after the last retry;
 * - `server-error`: it still answered 5xx after the last retry;
 * - `not-a-registry`: it answers with a web page;
 * - `wrong-bytes`: what it gave has another digest or size than what was asked for;
 * - `cut-off`: the connection ended, or stood still, before all had come, still after the last retry;
 * - `failed`: anything else; the message has the client's words.
 */
export type RegistryProblem =
  | "unreachable"
  | "refused"
  | "absent"
  | "overloaded"
  | "server-error"
  | "not-a-registry"
  | "wrong-bytes"
  | "cut-off"
  | "failed";

/** A registry did not do what was asked of it. The message says what, where and why, and what mends it. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly problem: RegistryProblem;
  /** For how long the registry asks to be left alone, in seconds (RFC 9110, 10.2.3); null where it doesn't. */
  readonly retryAfter: number | null;

  constructor(problem: RegistryProblem, message: string, retryAfter: number | null = null) {
    super(message);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** Whether the same may succeed a little later, with nothing changed here. */
  get mayPass(): boolean {
    if (this.problem === "unreachable") return /connection refused|i\/o timeout/.test(this.message);
    return ["overloaded", "server-error", "cut-off"].includes(this.problem);
  }
}

/** What crane tells of a request that failed. */
export type CraneWords = {
  /** The line that begins with `Error:`. */
  readonly words: string;
  /** Headers of the registry's last answer; empty where it had none. */
  readonly contentType: string;
  readonly retryAfter: string;
};

/** No line of a registry's own text is shown longer, in characters. */
const textLimit = 300;

const mends: Readonly<Partial<Record<RegistryProblem, string>>> = {
  unreachable: "is the address right, and the registry running?",
  refused: "log in with: docker login HOST, or crane auth login HOST",
  "not-a-registry": "a log-in page of the network, or no registry at all?",
};

/**
 * The error that crane's last words tell of.
 * @param doing begins the message: `pulling core-sh from docker.io/stagex`
 */
export function registryErrorOf(
  doing: string,
  { words, contentType, retryAfter }: CraneWords,
): RegistryError {
  const problem = problemIn(words);
  if (["wrong-bytes", "failed"].includes(problem) && /^text\/html\b/i.test(contentType)) {
    return registryError("not-a-registry", doing, `it answers with a web page (${contentType})`);
  }
  const seconds = secondsIn(retryAfter);
  const asked = problem === "overloaded" && seconds !== null ? `; it asks to wait ${seconds} s` : "";
  return registryError(problem, doing, reasonIn(words) + asked, seconds);
}

/** A Retry-After header is a number of seconds, or a date. */
function secondsIn(retryAfter: string): number | null {
  if (/^\d{1,9}$/.test(retryAfter.trim())) return Number(retryAfter);
  const until = Date.parse(retryAfter);
  return Number.isNaN(until) ? null : Math.max(0, Math.ceil((until - Date.now()) / 1000));
}

/** An error in the form that all of them have. */
export function registryError(
  problem: RegistryProblem,
  doing: string,
  reason: string,
  retryAfter: number | null = null,
): RegistryError {
  const mend = mends[problem];
  const text = escapeControlCharacters(reason.slice(0, textLimit));
  const message = `${doing}: ${problem}: ${text}${mend === undefined ? "" : ` (${mend})`}`;
  return new RegistryError(problem, message, retryAfter);
}

/**
 * Which problem a line of crane's is: a code of the distribution spec ("Error Codes"), an HTTP status, or Go's words for
 * a broken connection. Sorted so that the surest comes first: a body in the line may say anything.
 */
const signs: readonly (readonly [RegExp, RegistryProblem])[] = [
  [
    /does not match requested digest|error verifying sha256|Content-Length.*match|expected \d+ bytes/,
    "wrong-bytes",
  ],
  [/unexpected status code (401|403) |: (UNAUTHORIZED|DENIED): /, "refused"],
  [
    /unexpected status code 404 |: (MANIFEST_UNKNOWN|NAME_UNKNOWN|BLOB_UNKNOWN|NOT_FOUND|NAME_INVALID): /,
    "absent",
  ],
  [/unexpected status code 429 |: TOOMANYREQUESTS: /, "overloaded"],
  [/unexpected status code 5\d\d |: (UNKNOWN|UNAVAILABLE): /, "server-error"],
  [/unexpected EOF|: EOF$|connection reset by peer|broken pipe|malformed HTTP|malformed chunked/, "cut-off"],
  [/dial tcp|no such host|connection refused|tls: |x509: |i\/o timeout|TLS handshake/, "unreachable"],
];

function problemIn(line: string): RegistryProblem {
  return signs.find(([sign]) => sign.test(line))?.[1] ?? "failed";
}

/** What comes after the reference, which crane names first, and the request. */
function reasonIn(words: string): string {
  return words
    .replace(/^Error: (?:[a-z]+ (?:[a-z]+ )?[^\s@]+@\S+: )?/, "")
    .replace(/^[A-Z]+ https?:\/\/\S+: /, "");
}
