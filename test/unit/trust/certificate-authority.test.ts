import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type SecureContextOptions, type Server } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createAuthority,
  issueCertificate,
  type KeyAndCertificate,
} from "../../../trust/certificate-authority.ts";

let authority: KeyAndCertificate;
let server: Server;
let port: number;

beforeAll(async () => {
  authority = await createAuthority("test fleet", 2);
  const made = await issueCertificate(authority, {
    commonName: "intel-1",
    names: ["intel-1.stagex.internal", "127.0.0.1"],
    side: "server",
    days: 1,
  });
  server = createServer(
    { key: made.key, cert: made.certificate, ca: authority.certificate, requestCert: true },
    (socket) => socket.end("built"),
  );
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});

afterAll(() => {
  server.close();
});

/** What a client with these certificates reads from the server. */
async function answer(options: SecureContextOptions & { servername?: string }): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", servername: "intel-1.stagex.internal", ...options });
  const read: Buffer[] = [];
  for await (const bytes of socket) read.push(bytes);
  return Buffer.concat(read).toString();
}

async function client(of: KeyAndCertificate, side: "client" | "server" = "client") {
  const made = await issueCertificate(of, { commonName: "client", names: [], side, days: 1 });
  return { key: made.key, cert: made.certificate };
}

test("accepts a client's certificate by the authority, and the server by its name", async () => {
  expect(await answer({ ca: authority.certificate, ...(await client(authority)) })).toBe("built");
});

test("refuses a client without a certificate, with a foreign one, or with a server's", async () => {
  const foreign = await createAuthority("test fleet", 2);
  const ca = authority.certificate;
  // TLS 1.3 tells the client of it after the handshake: an alert, or an end without a word.
  const heard = (shown: SecureContextOptions) => answer({ ca, ...shown }).catch(() => "");
  expect(await heard({})).toBe("");
  expect(await heard(await client(foreign))).toBe("");
  expect(await heard(await client(authority, "server"))).toBe("");
});

test("refuses a server under another name or by another authority", async () => {
  const own = await client(authority);
  const foreign = await createAuthority("test fleet", 2);
  await expect(
    answer({ ca: authority.certificate, ...own, servername: "amd-1.stagex.internal" }),
  ).rejects.toThrow(/does not match/);
  await expect(answer({ ca: foreign.certificate, ...own })).rejects.toThrow();
});

test("limits the authority to end certificates, and certificates to their days", async () => {
  const made = await issueCertificate(authority, { commonName: "x", names: [], side: "client", days: 1 });
  const [root, leaf] = [new X509Certificate(authority.certificate), new X509Certificate(made.certificate)];
  expect([root.ca, leaf.ca]).toEqual([true, false]);
  expect(leaf.verify(root.publicKey)).toBe(true);
  expect(leaf.checkPrivateKey(createPrivateKey(made.key))).toBe(true);
  expect(Math.abs(leaf.validToDate.getTime() - Date.now() - 24 * 3600_000)).toBeLessThan(60_000);
});
