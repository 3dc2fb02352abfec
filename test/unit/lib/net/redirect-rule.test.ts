import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { isLoopbackHost, scopeOfHost } from "../../../../lib/net/address-scope.ts";
import type { ResolveAddresses } from "../../../../lib/net/checked-lookup.ts";
import { sendRequest } from "../../../../lib/net/outgoing-request.ts";
import {
  createRedirectLookup,
  originOf,
  type RedirectOrigin,
  redirectProblem,
} from "../../../../lib/net/redirect-rule.ts";

const fault = (from: string, to: string) => {
  const url = new URL(from);
  const reach = scopeOfHost(url.hostname);
  if (reach === undefined) throw new Error("where a name leads is not told by it");
  return redirectProblem({ url, scope: reach }, new URL(to));
};

test.each([
  ["https://203.0.113.7/a", "https://203.0.113.7/b"],
  ["https://203.0.113.7/a", "https://198.51.100.1/b"],
  ["https://203.0.113.7/a", "https://[2001:db8::1]/b"],
  ["https://203.0.113.7/a", "https://[64:ff9b::8.8.8.8]/b"],
  ["https://203.0.113.7/a", "https://[2002:808:808::1]/b"],
  ["https://203.0.113.7/a", "https://[::ffff:8.8.8.8]/b"],
  ["https://10.0.0.1/a", "https://192.168.0.1/b"],
  ["https://10.0.0.1/a", "https://203.0.113.7/b"],
  ["https://127.0.0.1/a", "https://127.0.0.1:8443/b"],
  ["http://127.0.0.1/a", "http://localhost:81/b"],
  ["http://127.0.0.1/a", "https://203.0.113.7/b"],
])("allows a redirect from %s to %s", (from, to) => {
  expect(fault(from, to)).toBeNull();
});

test.each([
  ["https://203.0.113.7/a", "http://203.0.113.7/b", "not https"],
  ["https://127.0.0.1/a", "http://127.0.0.1/b", "not https"],
  ["http://127.0.0.1/a", "http://203.0.113.7/b", "not https"],
  ["http://127.0.0.1/a", "http://x.localhost/b", "not https"],
  ["https://203.0.113.7/a", "file:///etc/passwd", "not https"],
  ["https://203.0.113.7/a", "https://127.0.0.1/b", "loopback"],
  ["https://203.0.113.7/a", "https://localhost/b", "loopback"],
  ["https://203.0.113.7/a", "https://localhost./b", "loopback"],
  ["https://203.0.113.7/a", "https://2130706433/b", "loopback"],
  ["https://203.0.113.7/a", "https://0x7f.1/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:127.0.0.1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:10.1.2.3]/b", "private"],
  ["https://203.0.113.7/a", "https://10.1.2.3/b", "private"],
  ["https://203.0.113.7/a", "https://172.31.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://192.168.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://100.64.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://[fd12::1]/b", "private"],
  ["https://203.0.113.7/a", "https://[64:ff9b::a9fe:a9fe]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[64:ff9b::10.0.0.5]/b", "private"],
  ["https://203.0.113.7/a", "https://[64:ff9b:1::8.8.8.8]/b", "private"],
  ["https://203.0.113.7/a", "https://[2002:7f00:1::1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[2002:a00:5:1:2:3:4:5]/b", "private"],
  ["https://203.0.113.7/a", "https://[::169.254.169.254]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[::7f00:1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[::ffff:0:127.0.0.1]/b", "loopback"],
  ["https://203.0.113.7/a", "https://[fec0::1]/b", "private"],
  ["https://203.0.113.7/a", "https://198.19.0.1/b", "private"],
  ["https://203.0.113.7/a", "https://192.0.0.170/b", "private"],
  ["https://203.0.113.7/a", "https://[::]/b", "link-local"],
  ["https://203.0.113.7/a", "https://169.254.169.254/b", "link-local"],
  ["https://203.0.113.7/a", "https://[fe80::1]/b", "link-local"],
  ["https://203.0.113.7/a", "https://[fd00:ec2::254]/b", "link-local"],
  ["https://203.0.113.7/a", "https://0.0.0.0/b", "link-local"],
  ["https://10.0.0.1/a", "https://127.0.0.1/b", "loopback"],
  ["https://127.0.0.1/a", "https://169.254.169.254/b", "link-local"],
])("rejects a redirect from %s to %s", (from, to, why) => {
  expect(fault(from, to)).toContain(why);
});

test.each([
  ["localhost", true],
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["[::1]", true],
  ["x.localhost", false],
  ["127.0.0.1.example.org", false],
  ["10.0.0.1", false],
])("%s is loopback by its name: %s", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

const signal = new AbortController().signal;
const mirror: RedirectOrigin = { url: new URL("https://mirror.example/x"), scope: "public" };

/** A server on this machine's loopback that counts its connections. */
async function startServer() {
  const server = createServer((_, response) => void response.end("here")).listen(0, "127.0.0.1");
  await once(server, "listening");
  let connections = 0;
  server.on("connection", () => connections++);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: new URL(`http://rebinding.test:${port}/`), connections: () => connections };
}

async function led(origin: RedirectOrigin, url: URL, resolveAddresses: ResolveAddresses): Promise<string> {
  const lookup = createRedirectLookup(origin, resolveAddresses);
  return await sendRequest(url, { headers: {}, signal, lookup }).then(text, String);
}

test("resolves the name of a redirect once, and connects to a checked address", async () => {
  const { url, connections } = await startServer();
  const answers = ["203.0.113.7", "127.0.0.1"];
  let lookups = 0;
  const rebinding = async () => [answers[lookups++] ?? ""];
  const late = AbortSignal.timeout(300);
  const lookup = createRedirectLookup(mirror, rebinding);
  // Nothing is at the first address, and nobody asks for another.
  await expect(sendRequest(url, { headers: {}, signal: late, lookup })).rejects.toThrow();
  expect([lookups, connections()]).toEqual([1, 0]);
  expect(await led(mirror, url, rebinding)).toContain("is a loopback address, and mirror.example is not");
  expect([lookups, connections()]).toEqual([2, 0]);
});

test("connects only to addresses that are no nearer than the first server", async () => {
  const { url, connections } = await startServer();
  const both = async () => ["169.254.169.254", "127.0.0.1"];
  expect(await led({ ...mirror, scope: "loopback" }, url, both)).toBe("here");
  expect(connections()).toBe(1);
  expect(await led({ ...mirror, scope: "private" }, url, both)).toContain("is a link-local address");
  expect(connections()).toBe(1);
});

test("uses no kept connection for a redirect", async () => {
  const { url, connections } = await startServer();
  const near = new URL(url.href.replace("rebinding.test", "localhost"));
  for (let times = 0; times < 2; times++)
    await text(await sendRequest(near, { headers: {}, signal })).then((got) => expect(got).toBe("here"));
  const before = connections();
  expect(await led(mirror, near, async () => ["127.0.0.1"])).toContain("is a loopback address");
  expect(connections()).toBe(before);
});

test("takes a server's scope from the address that was connected to", async () => {
  const { url } = await startServer();
  const lookup = createRedirectLookup({ ...mirror, scope: "loopback" }, async () => ["127.0.0.1"]);
  const answer = await sendRequest(url, { headers: {}, signal, lookup });
  expect(originOf(url, answer)).toEqual({ url, scope: "loopback" });
  answer.destroy();
  expect(originOf(new URL("https://10.0.0.1/"), answer).scope).toBe("private");
});
