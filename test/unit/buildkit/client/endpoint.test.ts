import { expect, test } from "vitest";
import { connectionArguments, parseEndpoint, queryDaemon } from "../../../../buildkit/client/endpoint.ts";

const tls = { ca: "ca.pem", cert: "cert.pem", key: "key.pem" };

test.each([
  "unix:///run/b.sock",
  "tcp://host:1234",
  "docker-container://name",
  "ssh://user@host",
  "kube-pod://pod",
])("%s is an address", (address) => {
  expect(parseEndpoint({ address, buildctl: "buildctl" })).toEqual({ address, buildctl: "buildctl" });
});

test.each(["", "/run/b.sock", "http://host", "unix://", "docker://name"])("%j is none", (address) => {
  expect(() => parseEndpoint({ address, buildctl: "buildctl" })).toThrow(
    /address: .*expected one of unix:\/\/…, tcp:\/\/…/,
  );
});

test("every wrong field is named in one error", () => {
  expect(() => parseEndpoint({ address: "x", buildctl: "", tls: { ...tls, ca: "" }, more: 1 })).toThrow(
    /address: .*buildctl: .*tls\.ca: .*more/,
  );
});

test("TLS goes with tcp only", () => {
  expect(() => parseEndpoint({ address: "unix:///a", buildctl: "b", tls })).toThrow(
    /tls: only a tcp:\/\/ address has TLS/,
  );
  const endpoint = parseEndpoint({
    address: "tcp://a:1",
    buildctl: "b",
    tls: { ...tls, serverName: "builder" },
  });
  expect(connectionArguments(endpoint)).toEqual(
    ["--addr", "tcp://a:1", "--tlscacert", "ca.pem", "--tlscert", "cert.pem", "--tlskey", "key.pem"].concat([
      "--tlsservername",
      "builder",
    ]),
  );
});

test("a buildctl that is not there is named", async () => {
  const endpoint = parseEndpoint({ address: "unix:///nowhere.sock", buildctl: "/nowhere/buildctl" });
  await expect(queryDaemon(endpoint)).rejects.toThrow(
    /BuildKit at unix:\/\/\/nowhere\.sock can't be used: .*Is \/nowhere\/buildctl there/s,
  );
});
