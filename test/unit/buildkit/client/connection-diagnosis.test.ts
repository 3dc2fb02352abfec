import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  diagnoseClientCertificate,
  diagnoseConnection,
} from "../../../../buildkit/client/connection-diagnosis.ts";
import { createAuthority, issueCertificate } from "../../../../trust/certificate-authority.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const plain = { address: "tcp://192.0.2.1:1234", buildctl: "buildctl" };
const protectedOne = { ...plain, tls: { ca: "ca.pem", cert: "cert.pem", key: "key.pem" } };

/** Wraps a message as buildctl v0.34.2 does. */
const words = (text: string) =>
  `error: failed to list workers: Unavailable: connection error: desc = "${text}"`;
const handshake = "transport: authentication handshake failed: tls: failed to verify certificate: x509: ";

test.each([
  [
    "transport: Error while dialing: dial tcp: lookup b.invalid on 192.0.2.53:53: no such host",
    "address",
    false,
    /no address/,
  ],
  [
    "transport: Error while dialing: dial tcp 192.0.2.1:1234: connect: connection refused",
    "port",
    false,
    /nothing listens/,
  ],
  [
    "transport: Error while dialing: dial unix /run/x.sock: connect: permission denied",
    "port",
    true,
    /may not open/,
  ],
  ["transport: Error while dialing: dial tcp 192.0.2.1:1234: i/o timeout", "port", false, /firewall/],
  [`${handshake}certificate signed by unknown authority`, "tls", true, /wrong CA/],
  [
    `${handshake}certificate has expired or is not yet valid: current time 2026-11-23T16:47:08Z is after 2021-01-01T00:00:00Z`,
    "tls",
    true,
    /has expired: it was valid until 2021-01-01T00:00:00Z/,
  ],
  [
    `${handshake}certificate has expired or is not yet valid: current time 2026-11-23T16:47:08Z is before 2027-01-01T00:00:00Z`,
    "tls",
    true,
    /set the clocks right/,
  ],
  [
    `${handshake}cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs`,
    "tls",
    true,
    /serverName/,
  ],
  ["error reading server preface: remote error: tls: expired certificate", "tls", true, /builder's clock/],
  ["error reading server preface: remote error: tls: certificate required", "tls", true, /foreign CA/],
  [
    "transport: authentication handshake failed: tls: first record does not look like a TLS handshake",
    "tls",
    true,
    /no TLS/,
  ],
  ["error reading from server: EOF", "answer", false, /ended the connection/],
])("diagnoses %s", (text, phase, isPermanent, message) => {
  expect(diagnoseConnection(words(text), protectedOne)).toEqual({
    phase,
    isPermanent,
    message: expect.stringMatching(message),
  });
});

test("distinguishes a missing client certificate from a refused one", () => {
  const refused = words("error reading server preface: remote error: tls: certificate required");
  expect(diagnoseConnection(refused, plain)?.message).toMatch(/give `tls`/);
  expect(diagnoseConnection(words("error reading server preface: EOF"), plain)?.message).toMatch(
    /does it want a client certificate/,
  );
});

test("finds no failure of the connection in a build's own error", () => {
  expect(
    diagnoseConnection('process "/bin/sh -c make" did not complete successfully: exit code: 2', plain),
  ).toBe(undefined);
});

test("reports our own certificate where it is expired, not yet valid or unreadable", async () => {
  const folder = await scratchFolder();
  const authority = await createAuthority("test", 1);
  const { certificate } = await issueCertificate(authority, {
    commonName: "client",
    names: [],
    side: "client",
    days: 1,
  });
  const cert = join(folder, "cert.pem");
  await writeFile(cert, certificate);
  const endpoint = { ...plain, tls: { ca: "-", cert, key: "-" } };
  const hours = (count: number) => new Date(Date.now() + count * 60 * 60 * 1000);
  expect(await diagnoseClientCertificate(endpoint)).toBe(undefined);
  expect((await diagnoseClientCertificate(endpoint, hours(25)))?.message).toMatch(
    /our certificate has expired/,
  );
  expect((await diagnoseClientCertificate(endpoint, hours(-1)))?.message).toMatch(/set the clocks right/);
  await writeFile(cert, "no certificate");
  expect((await diagnoseClientCertificate(endpoint))?.message).toMatch(/can't be read/);
});
