import { expect, test } from "vitest";
import { parseRegistryAddress, repositoryIn } from "../../../../oci/registry/registry-address.ts";

test.each([
  "docker.io/stagex",
  "quay.io/stagex",
  "registry.example.org:8443/a/b_c/d.e",
  "127.0.0.1:5000/stagex",
  "localhost:5000",
  "[::1]:5000/stagex",
  "203.0.113.7/stagex",
])("%s is a registry", (text) => {
  expect(parseRegistryAddress(text)).toBe(text);
});

test.each([
  ["https://docker.io/stagex", "without a scheme"],
  ["docker.io/StageX", "without a scheme"],
  ["docker.io/stagex/", "without a scheme"],
  ["docker.io/../stagex", "without a scheme"],
  ["user:secret@docker.io/stagex", "docker login"],
  ["https://user:secret@docker.io/stagex", "docker login"],
  ["docker.io/stagex@sha256:0", "without a scheme"],
  ["--insecure", "without a scheme"],
  ["", "without a scheme"],
  ["stagex", "has no host"],
  ["registry:5000/stagex", "has no host"],
  ["10.0.0.1:5000/stagex", "in clear text"],
  ["192.168.1.1/stagex", "in clear text"],
  ["172.16.0.1/stagex", "in clear text"],
  ["printer.local/stagex", "in clear text"],
])("%s is none", (text, reason) => {
  expect(() => parseRegistryAddress(text)).toThrow(reason);
});

test.each([
  ["index.docker.io/stagex", "docker.io/stagex"],
  ["index.docker.io", "docker.io"],
  ["index.docker.io.example/stagex", "index.docker.io.example/stagex"],
  ["index.docker.io:443/stagex", "index.docker.io:443/stagex"],
])("%s is written %s", (text, written) => {
  expect(parseRegistryAddress(text)).toBe(written);
});

test("a password in an address is not repeated", () => {
  const parse = () => parseRegistryAddress("user:open-sesame@docker.io/stagex");
  expect(parse).toThrow(/^(?!.*(user|sesame))/);
});

test("an image's repository is below the registry; a name that no registry can have has none", () => {
  const registry = parseRegistryAddress("docker.io/stagex");
  expect(repositoryIn(registry, "core-busybox")).toBe("docker.io/stagex/core-busybox");
  expect(repositoryIn(registry, "core-libstdc++")).toBeNull();
  expect(repositoryIn(registry, "core-Big")).toBeNull();
});
