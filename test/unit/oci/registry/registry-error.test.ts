import { expect, test } from "vitest";
import { parseClientFailure, RegistryError } from "../../../../oci/registry/registry-error.ts";

function printed(failure: object): string {
  const whole = { problem: "failed", reason: "no", mayPass: false, retryAfter: null, ...failure };
  return `${JSON.stringify(whole)}\n`;
}

test("a failure that the client prints is an error of its problem and reason", () => {
  const error = parseClientFailure(
    "pulling core-x",
    printed({ problem: "refused", reason: "UNAUTHORIZED: log in" }),
  );
  expect(error).toBeInstanceOf(RegistryError);
  expect(error).toMatchObject({ problem: "refused", isTransient: false, retryAfter: null });
  expect(error.message).toMatch(/^pulling core-x: refused: UNAUTHORIZED: log in \(log in with/);
});

test.each([
  ["nothing, since it was killed", "", "was killed"],
  [
    "Go's own words",
    "fatal error: runtime: out of memory\n\ngoroutine 1\n",
    "fatal error: runtime: out of memory",
  ],
  ["a problem that is none", printed({ problem: "bored" }), "bored"],
  ["members that nobody knows", printed({ more: 1 }), "more"],
])("%s is a failure without a name", (_name, stderr, reason) => {
  const error = parseClientFailure("pulling core-x", stderr);
  expect(error.problem).toBe("failed");
  expect(error.isTransient).toBe(false);
  expect(error.message).toMatch(/^pulling core-x: failed: the registry client /);
  expect(error.message).toContain(reason);
});

test("lines before the last are not taken for the failure", () => {
  const stderr = `something\n${printed({ problem: "absent", reason: "MANIFEST_UNKNOWN: x" })}`;
  expect(parseClientFailure("pulling", stderr).problem).toBe("absent");
});

test("a registry's own text is shown only so far", () => {
  const error = parseClientFailure("pulling", printed({ reason: "x".repeat(60_000) }));
  expect(error.message.length).toBeLessThan(500);
});

test("a registry's own text reaches no terminal as anything but text", () => {
  const error = parseClientFailure("pulling", printed({ reason: "\u001b]0;owned\u0007\u202e" }));
  expect(error.message).toContain("\\u001b]0;owned\\u0007\\u202e");
});

test("the time that an overloaded registry asks for is said, and not cut off by its words", () => {
  const reason = `TOOMANYREQUESTS: ${"slow ".repeat(500)}`;
  const failure = { problem: "overloaded", reason, mayPass: true, retryAfter: 7 };
  const error = parseClientFailure("pulling", printed(failure));
  expect(error).toMatchObject({ retryAfter: 7, isTransient: true });
  expect(error.message).toContain("; it asks to wait 7 s");
});
