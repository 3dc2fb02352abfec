import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { createServer as createSecureServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { parseDigest } from "../../oci/digest.ts";
import { parseRegistryAddress } from "../../oci/registry/registry-address.ts";
import { openVault } from "../../pipeline/context/open-vault.ts";
import { SourceError } from "../../sources/download/source-error.ts";
import { pushToVault } from "../../sources/push-to-vault.ts";
import { SourceCache } from "../../sources/source-cache.ts";
import { parseRepository } from "../../trust/signatures/image-reference.ts";
import { createLookaside } from "../../trust/signatures/lookaside.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";
import { selfSigned } from "../support/builders/self-signed.ts";
import { describeReal, realTool } from "../support/real-tools.ts";
import { startProxy } from "../support/servers/connect-proxy.ts";
import { RegistryServer } from "../support/servers/registry-server.ts";

// No name server knows *.proxied.test: whoever asks one instead of the proxy gets no answer.
const authority = selfSigned("*.proxied.test");
const content = Buffer.from("behind a proxy");
const sha256 = createHash("sha256").update(content).digest("hex");

beforeEach(() => {
  for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toLowerCase(), undefined);
  }
  onTestFinished(() => void vi.unstubAllEnvs());
});

function listening(server: Server | ReturnType<typeof createServer>): Promise<number> {
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Promise((done) =>
    server.listen(0, "127.0.0.1", () => done((server.address() as AddressInfo).port)),
  );
}

async function cacheIn(folder: string, options = {}): Promise<SourceCache> {
  return await SourceCache.open(folder, { ca: authority.cert, attempts: 1, backoff: 10, ...options });
}

function source(...mirrors: string[]) {
  return { name: "it", file: "it.tar", sha256, mirrors };
}

test("sources come through the proxies, by https and http, and redirects are followed there", async () => {
  const secure = await listening(
    createSecureServer(authority, ({ url }, response) =>
      url === "/led"
        ? response.writeHead(302, { location: "http://plain.proxied.test/it.tar" }).end()
        : response.end(content),
    ),
  );
  const plain = await listening(createServer((_, response) => void response.end(content)));
  const proxy = await startProxy({ "mirror.proxied.test:443": secure, "plain.proxied.test:80": plain });
  vi.stubEnv("HTTPS_PROXY", proxy.url);
  vi.stubEnv("http_proxy", proxy.url);
  for (const path of ["it.tar", "led"]) {
    const cache = await cacheIn(await scratchFolder());
    const found = await cache.obtain(source(`https://mirror.proxied.test/${path}`));
    expect(await readFile(found)).toEqual(content);
  }
  expect(proxy.asked).toEqual([
    "CONNECT mirror.proxied.test:443",
    "CONNECT mirror.proxied.test:443",
    "GET http://plain.proxied.test/it.tar",
  ]);
});

test("a proxy that refuses is named without its password, and one that is silent costs the idle time", async () => {
  const [refusing, silent] = [await startProxy({}, 407), await startProxy({}, "silent")];
  const reasonThrough = async (url: string): Promise<string> => {
    vi.stubEnv("HTTPS_PROXY", url);
    const cache = await cacheIn(await scratchFolder(), { idleTimeout: 300 });
    const error: unknown = await cache
      .obtain(source("https://mirror.proxied.test/x"))
      .catch((failure) => failure);
    return error instanceof SourceError ? `${error.message} ${error.stack}` : "no SourceError";
  };
  const refused = await reasonThrough(refusing.url);
  expect(refused).toMatch(
    /through the proxy http:\/\/127\.0\.0\.1:\d+ \(HTTPS_PROXY\): it answered 407 to CONNECT/,
  );
  expect(refused).not.toMatch(/s3cret|YW5u/);
  const begun = performance.now();
  expect(await reasonThrough(silent.url)).toMatch(/idle or too slow/);
  expect(performance.now() - begun).toBeLessThan(3000);
});

test("NO_PROXY and this machine's own addresses are asked directly", async () => {
  const port = await listening(createSecureServer(authority, (_, response) => void response.end(content)));
  const proxy = await startProxy({});
  vi.stubEnv("HTTPS_PROXY", proxy.url);
  vi.stubEnv("NO_PROXY", "proxied.test");
  const direct = await cacheIn(await scratchFolder());
  await direct.obtain(source(`https://127.0.0.1:${port}/x`));
  const cache = await cacheIn(await scratchFolder());
  await expect(cache.obtain(source("https://mirror.proxied.test/x"))).rejects.toThrow(/getaddrinfo/);
  expect(proxy.asked).toEqual([]);
});

test("signatures of an https lookaside are asked for through the proxy", async () => {
  const proxy = await startProxy({}, 403);
  vi.stubEnv("HTTPS_PROXY", proxy.url);
  const read = createLookaside("https://signatures.proxied.test/").read(
    parseRepository("docker.io/stagex/core-sh"),
    parseDigest(`sha256:${sha256}`),
  );
  await expect(read).rejects.toThrow(/through the proxy http:\/\/127\.0\.0\.1:\d+ .*403/);
  expect(proxy.asked).toEqual(["CONNECT signatures.proxied.test:443"]);
});

describeReal("with a real registry", () => {
  test("the registry client pushes and pulls a source through the proxy", async () => {
    await using registry = await RegistryServer.start();
    const [host = "", behind = ""] = registry.host.split(":");
    const front = createSecureServer(authority, (incoming, outgoing) => {
      const { url: path, method, headers } = incoming;
      const inner = request({ host, port: behind, path, method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      });
      incoming.pipe(inner);
    });
    const proxy = await startProxy({ "registry.proxied.test:443": await listening(front) });
    const folder = await scratchFolder();
    await writeFile(join(folder, "ca.pem"), authority.cert);
    vi.stubEnv("SSL_CERT_FILE", join(folder, "ca.pem"));
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    const vaultOf = (cache: string) => {
      const repository = parseRegistryAddress("registry.proxied.test/stagex/sources");
      const paths = { project: folder, sources: cache };
      const client = async (): Promise<string> => realTool("registry-client");
      return openVault([{ kind: "registry", repository, asked: "before", push: true }], {
        paths,
        client,
      });
    };
    const [first, second] = [join(folder, "first"), join(folder, "second")];
    const cache = await SourceCache.open(first, { vault: vaultOf(first) });
    await writeFile(join(folder, "it.tar"), content);
    await cache.obtain(source(), { archives: [folder] });
    const [report] = await pushToVault([{ sha256, name: "it.tar" }], {
      cache,
      signal: new AbortController().signal,
    });
    expect(report?.failures).toEqual([]);
    vi.stubEnv("HTTPS_PROXY", "http://ann:s3cret@127.0.0.1:9");
    const fault = await cache.vault[0]?.writer
      ?.missing(new Map([[sha256, { sha256, name: "x", path: "", size: 1 }]]), new AbortController().signal)
      .catch(String);
    expect(fault).toMatch(/proxyconnect/);
    expect(fault).not.toMatch(/s3cret/);
    vi.stubEnv("HTTPS_PROXY", proxy.url);
    const other = await SourceCache.open(second, { vault: vaultOf(second) });
    expect(await readFile(await other.obtain(source()))).toEqual(content);
    expect(new Set(proxy.asked)).toEqual(new Set(["CONNECT registry.proxied.test:443"]));
  });
});
