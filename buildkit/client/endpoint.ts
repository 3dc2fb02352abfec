import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";
import { clientEnvironment } from "./client-environment.ts";
import {
  type ConnectionDiagnosis,
  diagnoseClientCertificate,
  diagnoseConnection,
  diagnoseRefusal,
} from "./connection-diagnosis.ts";

const schemes = ["unix", "tcp", "docker-container", "ssh", "kube-pod"] as const;

const address = z
  .string()
  .refine(
    (text) => schemes.some((scheme) => text.startsWith(`${scheme}://`) && text.length > scheme.length + 3),
    {
      error: (issue) =>
        `${JSON.stringify(String(issue.input).slice(0, 200))} is no BuildKit address (expected one of ${schemes.map((s) => `${s}://…`).join(", ")})`,
    },
  );

const tls = z.strictObject({
  ca: z.string().min(1).describe("file of the certificate authority that signed the server's certificate"),
  cert: z.string().min(1).describe("file of our certificate"),
  key: z.string().min(1).describe("file of its key"),
  serverName: z.string().min(1).optional().describe("name to expect in the server's certificate"),
});

const endpointSchema = z
  .strictObject({ address, buildctl: z.string().min(1), tls: tls.optional() })
  .refine((endpoint) => endpoint.tls === undefined || endpoint.address.startsWith("tcp://"), {
    path: ["tls"],
    message: "only a tcp:// address has TLS; the others bring their own protection",
  });

/** Where a BuildKit daemon is reached, and the `buildctl` (a path) that talks to it. Parsed: see {@link parseEndpoint}. */
export type Endpoint = z.infer<typeof endpointSchema>;

/** Parses an endpoint; throws one error that names every field that is wrong, what it was and what is allowed. */
export function parseEndpoint(input: unknown): Endpoint {
  const parsed = endpointSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const complaints = parsed.error.issues.map(
    (issue) => `${issue.path.join(".") || "endpoint"}: ${issue.message}`,
  );
  throw new Error(`not a BuildKit endpoint: ${complaints.join("; ")}`);
}

/** buildctl's global options for this endpoint; they come before the command. */
export function connectionArguments(endpoint: Endpoint): string[] {
  const { tls } = endpoint;
  return [
    ...["--addr", endpoint.address],
    ...(tls ? ["--tlscacert", tls.ca, "--tlscert", tls.cert, "--tlskey", tls.key] : []),
    ...(tls?.serverName ? ["--tlsservername", tls.serverName] : []),
  ];
}

const workersSchema = z
  .array(
    z.object({
      platforms: z
        .array(z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() }))
        .min(1),
      buildkitVersion: z.object({ version: z.string() }),
    }),
  )
  .min(1);

/** What a daemon can do: the platforms it runs (such as `linux/amd64`, its own first), and its version (such as `v0.34.2`). */
export type DaemonInfo = { readonly platforms: readonly string[]; readonly version: string };

const patience = 20_000;

/** A daemon that can't be used, and what is known of why. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly diagnosis: ConnectionDiagnosis;

  constructor(message: string, trouble: ConnectionDiagnosis, options: ErrorOptions) {
    super(message, options);
    this.diagnosis = trouble;
  }
}

/**
 * Asks the daemon for its default worker. Throws {@link ConnectionError} when it does not answer within 20 seconds, saying what to
 * look at.
 */
export async function queryDaemon(endpoint: Endpoint, signal?: AbortSignal): Promise<DaemonInfo> {
  const timeout = AbortSignal.timeout(patience);
  const request = [
    ...connectionArguments(endpoint),
    "--timeout",
    "10",
    "debug",
    "workers",
    "--format",
    "{{json .}}",
  ];
  try {
    const { stdout } = await promisify(execFile)(endpoint.buildctl, request, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      env: clientEnvironment(endpoint),
      maxBuffer: 16 * 1024 * 1024,
    });
    const [worker] = workersSchema.parse(JSON.parse(stdout));
    if (worker === undefined) throw new Error("it has no worker");
    return { platforms: worker.platforms.map(formatPlatform), version: worker.buildkitVersion.version };
  } catch (error) {
    signal?.throwIfAborted();
    throw await connectionError(endpoint, error, timeout.aborted);
  }
}

/** How many builds, of whomever, the daemon has under way; undefined where it does not say. */
export async function countActiveBuilds(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<number | undefined> {
  const request = [...connectionArguments(endpoint), "debug", "histories", "--format", "{{.Type}}"];
  try {
    const { stdout } = await promisify(execFile)(endpoint.buildctl, request, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]),
      env: clientEnvironment(endpoint),
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout.split("\n").filter((type) => type === "STARTED").length;
  } catch {
    return undefined;
  }
}

async function connectionError(
  endpoint: Endpoint,
  error: unknown,
  isLate: boolean,
): Promise<ConnectionError> {
  const reason = isLate ? `no answer within ${patience / 1000} s` : reasonOf(error);
  const said = diagnoseConnection(reason, endpoint);
  const found = said?.phase === "answer" && !isLate ? ((await diagnoseRefusal(endpoint)) ?? said) : said;
  // A server that refuses a certificate may just hang up.
  const own =
    found?.phase === "port" || found?.phase === "address"
      ? undefined
      : await diagnoseClientCertificate(endpoint);
  const trouble = own ?? found ?? { phase: "answer", isPermanent: false, message: reason };
  const what = (own ?? found) ? `${trouble.message} (${reason})` : reason;
  const explained = trouble.phase === "tls" ? what : `${what}. ${mend(endpoint, error)}`;
  return new ConnectionError(`BuildKit at ${endpoint.address} can't be used: ${explained}`, trouble, {
    cause: error,
  });
}

function formatPlatform(platform: {
  os: string;
  architecture: string;
  variant?: string | undefined;
}): string {
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/");
}

function reasonOf(error: unknown): string {
  const stderr =
    typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
  const text = stderr || (error instanceof Error ? error.message : String(error));
  return text.replace(/^error: /, "").slice(0, 500);
}

function mend(endpoint: Endpoint, error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === "ENOENT")
    return `Is ${endpoint.buildctl} there, and is it buildctl?`;
  const [scheme, name] = endpoint.address.split("://");
  switch (scheme) {
    case "unix":
      return `Is buildkitd running, and may this user open ${name}?`;
    case "docker-container":
      return `Is the container running? docker start ${name}`;
    case "kube-pod":
      return `Is the pod running? kubectl get pod ${name}`;
    case "ssh":
      return `Does "ssh ${name} buildctl dial-stdio" connect without a password?`;
    default:
      return `Is buildkitd listening there${endpoint.tls ? ", and do ca, cert and key belong together?" : ", and does it want a client certificate (tls)?"}`;
  }
}
