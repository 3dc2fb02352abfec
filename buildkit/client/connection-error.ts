import { errorCode } from "../../lib/fs/error-code.ts";
import {
  type ConnectionDiagnosis,
  diagnoseClientCertificate,
  diagnoseConnection,
  diagnoseRefusal,
} from "./connection-diagnosis.ts";
import type { Endpoint } from "./endpoint.ts";

/** A daemon that can't be used, with the likely cause. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly diagnosis: ConnectionDiagnosis;

  constructor(message: string, diagnosis: ConnectionDiagnosis, options: ErrorOptions) {
    super(message, options);
    this.diagnosis = diagnosis;
  }
}

/**
 * Finds the likely cause of a failed query.
 * @param error of buildctl
 * @param late the reason where there was no answer in time
 */
export async function diagnoseQueryFailure(
  endpoint: Endpoint,
  error: unknown,
  late: string | undefined,
): Promise<ConnectionError> {
  const reason = late ?? reasonOf(error);
  const said = diagnoseConnection(reason, endpoint);
  const found =
    said?.phase === "answer" && late === undefined ? ((await diagnoseRefusal(endpoint)) ?? said) : said;
  // A server that refuses a certificate may just end the connection.
  const isUnreached = found?.phase === "port" || found?.phase === "address";
  const known = (isUnreached ? undefined : await diagnoseClientCertificate(endpoint)) ?? found;
  const diagnosis = known ?? { phase: "answer", isPermanent: false, message: reason };
  const cause = known ? `${known.message} (${reason})` : reason;
  const explained = diagnosis.phase === "tls" ? cause : `${cause}. ${hintFor(endpoint, error)}`;
  return new ConnectionError(`BuildKit at ${endpoint.address} can't be used: ${explained}`, diagnosis, {
    cause: error,
  });
}

function reasonOf(error: unknown): string {
  const stderr =
    typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
  const text = stderr || (error instanceof Error ? error.message : String(error));
  return text.replace(/^error: /, "").slice(0, 500);
}

/** Returns the question to look into, by the kind of address. */
function hintFor({ address, buildctl, tls }: Endpoint, error: unknown): string {
  if (errorCode(error) === "ENOENT") return `Is ${buildctl} there, and is it buildctl?`;
  const [scheme, name] = address.split("://");
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
      return `Is buildkitd listening there${tls ? ", and do ca, cert and key belong together?" : ", and does it want a client certificate (tls)?"}`;
  }
}
