import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Endpoint } from "./endpoint.ts";
import { readTlsAlert } from "./tls-alert.ts";

/**
 * The step at which the connection to a builder failed: its name, its port, its protection, its
 * answer.
 */
export type ConnectionPhase = "address" | "port" | "tls" | "answer";

/** The likely cause of a failed connection. */
export type ConnectionDiagnosis = {
  readonly phase: ConnectionPhase;
  /** The cause and the hint, for people. */
  readonly message: string;
  /** Whether waiting can't help: a person has to change something. */
  readonly isPermanent: boolean;
};

type Explanation = (found: RegExpExecArray, endpoint: Endpoint) => Omit<ConnectionDiagnosis, "phase">;

/**
 * The meaning of messages of Go's network and TLS libraries, which buildctl prints; the first match
 * counts.
 */
const explanations: readonly (readonly [ConnectionPhase, RegExp, Explanation])[] = [
  [
    "address",
    /^(?=.*lookup \S).*(no such host|server misbehaving|Temporary failure)/m,
    transient("its name has no address (yet): check it"),
  ],
  [
    "tls",
    /certificate signed by unknown authority|certificate is not trusted/,
    permanent(
      "its certificate is signed by another authority than the one in `ca` (a wrong CA, or another machine answers there)",
    ),
  ],
  [
    "tls",
    /expired or is not yet valid: current time (\S+) is (after|before) (\S+)/,
    ([, now, side, limit]) =>
      side === "after"
        ? {
            isPermanent: true,
            message: `its certificate has expired: it was valid until ${limit}, and it is ${now} by this machine's clock. Make a new one`,
          }
        : {
            isPermanent: true,
            message: `its certificate is valid from ${limit} only, and it is ${now} by this machine's clock: set the clocks right (here, or where it was made)`,
          },
  ],
  [
    "tls",
    /certificate is (?:not valid for any names|valid for .*, not \S+)|doesn't contain any IP SANs/,
    ([words]) => ({
      isPermanent: true,
      message: `its certificate is for another name (${words}): give \`serverName\`, or the right address`,
    }),
  ],
  [
    "tls",
    /first record does not look like a TLS handshake/,
    permanent("it speaks no TLS: start buildkitd with --tlscert, --tlskey and --tlscacert"),
  ],
  [
    "tls",
    /remote error: tls: expired certificate/,
    permanent(
      "our certificate has expired by the builder's clock: if `cert` is still valid, the builder's clock is wrong",
    ),
  ],
  [
    "tls",
    /remote error: tls: [^"\n]*/,
    (found, endpoint) => ({
      isPermanent: true,
      message: `it refuses our certificate (${found[0]}): ${refusal(endpoint)}`,
    }),
  ],
  ["port", /connection refused/, transient("nothing listens there (yet)")],
  ["port", /permission denied/, permanent("this user may not open it")],
  ["port", /no such file or directory/, transient("there is nothing at this path (yet)")],
  [
    "port",
    /no route to host|network is unreachable|i\/o timeout|connection timed out/,
    transient("no packet comes back: check network and firewall"),
  ],
  [
    "answer",
    /server preface: EOF|connection reset|broken pipe|\bEOF\b/,
    (_, endpoint) => ({
      isPermanent: false,
      message:
        endpoint.address.startsWith("tcp://") && !endpoint.tls
          ? "it ended the connection: does it want a client certificate (tls)?"
          : "it ended the connection",
    }),
  ],
  ["answer", /no answer within/, transient("it does not answer: it hangs, or the network drops the packets")],
  [
    "answer",
    /DeadlineExceeded|deadline exceeded|\bUnavailable\b/,
    transient("it accepts connections and does not answer"),
  ],
];

/**
 * Diagnoses the message of a failed buildctl; returns undefined where the connection did not fail.
 */
export function diagnoseConnection(words: string, endpoint: Endpoint): ConnectionDiagnosis | undefined {
  for (const [phase, pattern, explain] of explanations) {
    const found = pattern.exec(words);
    if (found) return { phase, ...explain(found, endpoint) };
  }
  return undefined;
}

/**
 * Checks our own certificate, as a server that refuses it often gives no reason. Compares the
 * certificate's times (RFC 5280, 4.1.2.5) with this machine's clock.
 * @returns undefined where it is valid now, or there is none
 */
export async function diagnoseClientCertificate(
  endpoint: Endpoint,
  now = new Date(),
): Promise<ConnectionDiagnosis | undefined> {
  if (!endpoint.tls) return undefined;
  const phase = "tls";
  const diagnosis = (message: string): ConnectionDiagnosis => ({ phase, isPermanent: true, message });
  try {
    const certificate = new X509Certificate(await readFile(endpoint.tls.cert));
    const [from, until] = [certificate.validFromDate, certificate.validToDate];
    if (until < now)
      return diagnosis(
        `our certificate has expired: it was valid until ${until.toISOString()}. Make a new one`,
      );
    if (from > now)
      return diagnosis(
        `our certificate is valid from ${from.toISOString()} only, and it is ${now.toISOString()} by this machine's clock: set the clocks right`,
      );
    return undefined;
  } catch (error) {
    return diagnosis(
      `our certificate can't be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/**
 * Asks a builder that ended the connection without a reason whether it refuses our certificate:
 * buildctl often does not get to see the refusal.
 */
export async function diagnoseRefusal(endpoint: Endpoint): Promise<ConnectionDiagnosis | undefined> {
  const alert = await readTlsAlert(endpoint);
  if (alert === undefined) return undefined;
  return {
    phase: "tls",
    isPermanent: true,
    message: `it refuses our certificate (${alert}): ${refusal(endpoint)}`,
  };
}

function refusal(endpoint: Endpoint): string {
  return endpoint.tls
    ? "it is signed by another authority than the builder trusts (a foreign CA), or is none for clients"
    : "it wants one: give `tls` with ca, cert and key";
}

function transient(message: string): Explanation {
  return () => ({ isPermanent: false, message });
}

function permanent(message: string): Explanation {
  return () => ({ isPermanent: true, message });
}
