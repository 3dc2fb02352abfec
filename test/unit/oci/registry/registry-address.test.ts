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
])("accepts %s", (text) => {
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
])("rejects %s", (text, reason) => {
  expect(() => parseRegistryAddress(text)).toThrow(reason);
});

test.each([
  ["index.docker.io/stagex", "docker.io/stagex"],
  ["index.docker.io", "docker.io"],
  ["index.docker.io.example/stagex", "index.docker.io.example/stagex"],
  ["index.docker.io:443/stagex", "index.docker.io:443/stagex"],
])("normalizes %s to %s", (text, written) => {
  expect(parseRegistryAddress(text)).toBe(written);
});

test("does not repeat a password of an address in the error", () => {
  const parse = () => parseRegistryAddress("user:open-sesame@docker.io/stagex");
  expect(parse).toThrow(/^(?!.*(user|sesame))/);
});

test("repositoryIn puts an image below the registry, and returns null for a name that no registry can have", () => {
  const registry = parseRegistryAddress("docker.io/stagex");
  expect(repositoryIn(registry, "core-busybox")).toBe("docker.io/stagex/core-busybox");
  expect(repositoryIn(registry, "core-libstdc++")).toBeNull();
  expect(repositoryIn(registry, "core-Big")).toBeNull();
});
