import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import os from "node:os";
import { text } from "node:stream/consumers";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { sendUpstream, type UpstreamOptions } from "../../../../sources/recording/upstream.ts";
import { selfSigned } from "../../../support/builders/self-signed.ts";
import { startProxy } from "../../../support/servers/connect-proxy.ts";

const authority = selfSigned("*.proxied.test");

beforeEach(() => {
  for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toLowerCase(), undefined);
  }
  onTestFinished(() => void vi.unstubAllEnvs());
});

async function listening(answer: RequestListener, isSecure = false): Promise<number> {
  const server = isSecure ? createSecureServer(authority, answer) : createServer(answer);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Returns the answer, or the error as text. */
async function asked(url: string, options: Partial<UpstreamOptions> = {}, sent?: string): Promise<string> {
  const method = sent === undefined ? "GET" : "POST";
  const body = sent === undefined ? undefined : Buffer.from(sent);
  const upstream = {
    ...{ mayAsk: () => true, mayBePrivate: () => false, ca: authority.cert },
    resolveAddresses: () => Promise.reject(new Error("only the proxy knows names")),
    ...options,
  };
  const never = new AbortController().signal;
  return await sendUpstream({ method, url }, { headers: {}, body }, upstream, never).then(text, String);
}

describe("through the proxy of the environment", () => {
  test("reaches hosts that only the proxy resolves, by https and http, with git's body", async () => {
    const echo: RequestListener = async (request, response) =>
      void response.end(`${request.method} ${request.url} ${await text(request)}`);
    const proxy = await startProxy({
      "registry.proxied.test:443": await listening(echo, true),
      "registry.proxied.test:80": await listening(echo),
    });
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    vi.stubEnv("http_proxy", proxy.url);
    expect(await asked("https://registry.proxied.test/x")).toBe("GET /x ");
    expect(await asked("https://registry.proxied.test/git-upload-pack", {}, "want")).toBe(
      "POST /git-upload-pack want",
    );
    expect(await asked("http://registry.proxied.test/y")).toBe("GET /y ");
    expect(proxy.asked).toEqual([
      "CONNECT registry.proxied.test:443",
      "CONNECT registry.proxied.test:443",
      "GET http://registry.proxied.test/y",
    ]);
  });

  test("rejects a forbidden host before the proxy gets a request", async () => {
    const proxy = await startProxy({});
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    vi.stubEnv("HTTP_PROXY", proxy.url);
    for (const host of ["10.0.0.1", "[::1]", "[::ffff:a00:1]", "0x7f.1", "169.254.169.254", "x.localhost"])
      expect(await asked(`https://${host}/x`)).toContain("is no public address");
    expect(await asked("http://other.proxied.test/", { mayAsk: () => false })).toContain(
      "is not among the hosts of stagex:network",
    );
    expect(proxy.asked).toEqual([]);
  });

  test("connects directly to hosts of NO_PROXY, and checks their address", async () => {
    const port = await listening((_, response) => void response.end("direct"));
    const proxy = await startProxy({});
    vi.stubEnv("HTTP_PROXY", proxy.url);
    vi.stubEnv("NO_PROXY", "proxied.test");
    const url = `http://registry.proxied.test:${port}/`;
    const resolveAddresses = async () => ["127.0.0.1"];
    expect(await asked(url, { resolveAddresses, mayBePrivate: () => true })).toBe("direct");
    expect(await asked(url, { resolveAddresses })).toContain("is no public address");
    expect(proxy.asked).toEqual([]);
  });

  test("reports a proxy's rejection without its password, and a silent one after the idle time", async () => {
    const refusing = await startProxy({}, 403);
    vi.stubEnv("HTTPS_PROXY", refusing.url);
    const refused = await asked("https://registry.proxied.test/");
    expect(refused).toMatch(
      /UpstreamError: through the proxy http:\/\/127\.0\.0\.1:\d+ \(HTTPS_PROXY\): it answered 403 to CONNECT/,
    );
    expect(refused).not.toMatch(/s3cret|YW5u/);
    vi.stubEnv("HTTPS_PROXY", (await startProxy({}, "silent")).url);
    expect(await asked("https://registry.proxied.test/", { idle: 200 })).toMatch(
      /UpstreamError: .* timed out after 200ms/,
    );
  }, 5_000);
});

test("resolves a name once, and connects only to its public addresses", async () => {
  const answers = [["127.0.0.1"], ["203.0.113.7"]];
  let lookups = 0;
  const resolveAddresses = async () => answers[lookups++] ?? [];
  let requests = 0;
  const port = await listening((_, response) => void response.end(`${++requests}`));
  expect(await asked(`http://rebinding.test:${port}/`, { resolveAddresses })).toContain(
    "is no public address",
  );
  expect([lookups, requests]).toEqual([1, 0]);
  expect(await asked("http://empty.test/", { resolveAddresses: async () => [] })).toContain("has no address");
});

test("rejects this machine's own public address, by number and by name", async () => {
  const address = "203.0.113.7";
  const own = { address, family: "IPv4" as const, netmask: "", mac: "", internal: false, cidr: null };
  const spy = vi.spyOn(os, "networkInterfaces").mockReturnValue({ eth0: [own] });
  onTestFinished(() => spy.mockRestore());
  expect(await asked(`http://${address}/`)).toContain("is no public address");
  expect(await asked("http://own.test/", { resolveAddresses: async () => [address] })).toContain(
    "is no public address",
  );
});
