import { readFile } from "node:fs/promises";
import { connect } from "node:tls";
import { bareHost } from "../../lib/net/address-scope.ts";
import type { Endpoint } from "./endpoint.ts";

/** How long a server may take for a handshake, in milliseconds. */
const handshakeTimeout = 5_000;

/**
 * Reads the alert with which a builder refuses our certificate, in OpenSSL's words; undefined where
 * it does not. With TLS 1.3 the client's handshake ends before the server checks the certificate.
 * So buildctl often sees a refusal only as the end of the connection. With TLS 1.2 the server's
 * verdict is part of the handshake (RFC 5246, 7.3).
 */
export async function readTlsAlert({ address, tls }: Endpoint): Promise<string | undefined> {
  const { hostname, port } = new URL(address);
  if (!tls || port === "") return undefined;
  const files = [tls.ca, tls.cert, tls.key].map((file) => readFile(file));
  const [ca, cert, key] = await Promise.all(files).catch(() => []);
  if (!ca || !cert || !key) return undefined;
  return await new Promise((resolve) => {
    const host = bareHost(hostname);
    const named = tls.serverName === undefined ? {} : { servername: tls.serverName };
    // Nothing but the handshake is sent, so the server need not be the right one.
    const own = { ca, cert, key, maxVersion: "TLSv1.2", rejectUnauthorized: false } as const;
    const socket = connect({ host, port: Number(port), ...named, ...own });
    const end = (refusal?: string): void => {
      socket.destroy();
      resolve(refusal);
    };
    socket.setTimeout(handshakeTimeout, () => end());
    socket.once("secureConnect", () => end());
    socket.once("error", (error: NodeJS.ErrnoException) => end(/alert [\w ]+/.exec(error.message)?.[0]));
  });
}
