import { expect, test } from "vitest";
import { parseClientFailure, RegistryError } from "../../../../oci/registry/registry-error.ts";

function printed(failure: object): string {
  const whole = { problem: "failed", reason: "no", isTransient: false, retryAfter: null, ...failure };
  return `${JSON.stringify(whole)}\n`;
}

test("parses the problem and reason of a printed failure", () => {
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
])("%s becomes the problem failed", (_name, stderr, reason) => {
  const error = parseClientFailure("pulling core-x", stderr);
  expect(error.problem).toBe("failed");
  expect(error.isTransient).toBe(false);
  expect(error.message).toMatch(/^pulling core-x: failed: the registry client /);
  expect(error.message).toContain(reason);
});

test("ignores lines before the last", () => {
  const stderr = `something\n${printed({ problem: "absent", reason: "MANIFEST_UNKNOWN: x" })}`;
  expect(parseClientFailure("pulling", stderr).problem).toBe("absent");
});

test("cuts a registry's own text", () => {
  const error = parseClientFailure("pulling", printed({ reason: "x".repeat(60_000) }));
  expect(error.message.length).toBeLessThan(500);
});

test("escapes a registry's own text", () => {
  const error = parseClientFailure("pulling", printed({ reason: "\u001b]0;owned\u0007\u202e" }));
  expect(error.message).toContain("\\u001b]0;owned\\u0007\\u202e");
});

test("names the time that an overloaded registry asks to wait, however long its text", () => {
  const reason = `TOOMANYREQUESTS: ${"slow ".repeat(500)}`;
  const failure = { problem: "overloaded", reason, isTransient: true, retryAfter: 7 };
  const error = parseClientFailure("pulling", printed(failure));
  expect(error).toMatchObject({ retryAfter: 7, isTransient: true });
  expect(error.message).toContain("; it asks to wait 7 s");
});
