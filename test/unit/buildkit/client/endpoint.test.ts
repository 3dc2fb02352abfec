import { expect, test } from "vitest";
import { connectionArguments, parseEndpoint } from "../../../../buildkit/client/endpoint.ts";

const tls = { ca: "ca.pem", cert: "cert.pem", key: "key.pem" };

test.each([
  "unix:///run/b.sock",
  "tcp://host:1234",
  "docker-container://name",
  "ssh://user@host",
  "kube-pod://pod",
])("takes the address %s", (address) => {
  expect(parseEndpoint({ address, buildctl: "buildctl" })).toEqual({ address, buildctl: "buildctl" });
});

test.each(["", "/run/b.sock", "http://host", "unix://", "docker://name"])(
  "rejects the address %j",
  (address) => {
    expect(() => parseEndpoint({ address, buildctl: "buildctl" })).toThrow(
      /address: .*expected one of unix:\/\/…, tcp:\/\/…/,
    );
  },
);

test("names every wrong field in one error", () => {
  expect(() => parseEndpoint({ address: "x", buildctl: "", tls: { ...tls, ca: "" }, more: 1 })).toThrow(
    /address: .*buildctl: .*tls\.ca: .*more/,
  );
});

test("takes TLS for tcp addresses only, and passes its files to buildctl", () => {
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
