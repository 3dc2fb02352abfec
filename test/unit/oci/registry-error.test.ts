import { expect, test } from "vitest";
import { registryErrorOf } from "../../../oci/registry-error.ts";

const hex = "a".repeat(64);
const url = `https://r.example.org/v2/stagex/core-x/blobs/sha256:${hex}`;
const reference = `r.example.org/stagex/core-x@sha256:${hex}`;

test.each([
  [`Error: fetching blob ${reference}: GET ${url}: UNAUTHORIZED: log in`, "refused", "UNAUTHORIZED: log in"],
  [`Error: fetching manifest ${reference}: GET ${url}: DENIED: no`, "refused", "DENIED: no"],
  [`Error: fetching manifest ${reference}: GET ${url}: MANIFEST_UNKNOWN: x`, "absent", "MANIFEST_UNKNOWN: x"],
  [
    `Error: fetching blob ${reference}: GET ${url}: unexpected status code 502 Bad Gateway: 404`,
    "server-error",
    "unexpected status code 502 Bad Gateway: 404",
  ],
  [`Error: fetching blob ${reference}: GET ${url}: TOOMANYREQUESTS: slow`, "overloaded", "TOOMANYREQUESTS"],
  [`Error: copying blob ${reference}: unexpected EOF`, "cut-off", "unexpected EOF"],
  [
    `Error: fetching manifest ${reference}: Get "https://r.example.org/v2/": dial tcp: lookup r.example.org: no such host`,
    "unreachable",
    "no such host",
  ],
  [
    `Error: fetching manifest ${reference}: Get "https://r.example.org/v2/": tls: failed to verify certificate: x509: expired`,
    "unreachable",
    "x509: expired",
  ],
  [
    `Error: copying blob ${reference}: error verifying sha256 checksum after reading 5 bytes`,
    "wrong-bytes",
    "",
  ],
  ["", "failed", ""],
])("%s", (words, problem, reason) => {
  const error = registryErrorOf("pulling core-x", { words, contentType: "application/json", retryAfter: "" });
  expect(error.problem).toBe(problem);
  expect(error.message).toMatch(new RegExp(`^pulling core-x: ${problem}: `));
  expect(error.message).toContain(reason);
  expect(error.message).not.toContain(url);
});

test("wrong bytes that call themselves a web page are told as one", () => {
  const words = `Error: fetching manifest ${reference}: manifest digest: "x" does not match requested digest: "y"`;
  expect(
    registryErrorOf("pulling", { words, contentType: "text/html; charset=utf-8", retryAfter: "" }).problem,
  ).toBe("not-a-registry");
  expect(registryErrorOf("pulling", { words, contentType: "application/json", retryAfter: "" }).problem).toBe(
    "wrong-bytes",
  );
});

test("a registry's own text is shown only so far", () => {
  const words = `Error: GET ${url}: unexpected status code 500 : ${"x".repeat(100_000)}`;
  expect(
    registryErrorOf("pulling", { words, contentType: "text/html", retryAfter: "" }).message.length,
  ).toBeLessThan(1000);
});

test("a registry's own text reaches no terminal as anything but text", () => {
  const words = `Error: GET ${url}: unexpected status code 500 : \u001b]0;owned\u0007\u202e`;
  expect(registryErrorOf("pulling", { words, contentType: "", retryAfter: "" }).message).toContain(
    "\\u001b]0;owned\\u0007\\u202e",
  );
});

test.each([
  ["7", 7],
  ["soon", null],
  ["", null],
])("Retry-After: %s", (retryAfter, seconds) => {
  const words = `Error: fetching manifest ${reference}: GET ${url}: TOOMANYREQUESTS: slow`;
  const error = registryErrorOf("pulling", { words, contentType: "", retryAfter });
  expect(error.retryAfter).toBe(seconds);
  expect(error.mayPass).toBe(true);
});

test("Retry-After may be a date", () => {
  const words = `Error: fetching manifest ${reference}: GET ${url}: TOOMANYREQUESTS: slow`;
  const retryAfter = new Date(Date.now() + 30_000).toUTCString();
  const error = registryErrorOf("pulling", { words, contentType: "", retryAfter });
  expect(error.retryAfter).toBeGreaterThan(25);
  expect(error.retryAfter).toBeLessThan(32);
  expect(error.message).toMatch(/it asks to wait \d+ s/);
});

test.each([
  ["dial tcp 127.0.0.1:5000: connect: connection refused", true],
  ["dial tcp: lookup r.example.org: no such host", false],
  ["tls: failed to verify certificate: x509: expired", false],
])("%s may pass: %s", (reason, mayPass) => {
  const words = `Error: fetching manifest ${reference}: Get "https://r.example.org/v2/": ${reason}`;
  expect(registryErrorOf("pulling", { words, contentType: "", retryAfter: "" }).mayPass).toBe(mayPass);
});
