import { expect, test } from "vitest";
import { diagnoseGoFailure } from "../../../tools/go-diagnosis.ts";

test.each([
  ["# runtime\nopen /x/b001/_pkg_.a: no space left on device", "disk-full", /STAGEX_CACHE/],
  [
    'go: github.com/moby/buildkit@v0.34.2: Get "https://proxy.example/x": dial tcp: lookup proxy.example: no such host',
    "no-network",
    /HTTPS_PROXY/,
  ],
  ["go: download go1.26.8 for linux/amd64: toolchain not available", "no-toolchain", /go\.dev\/dl/],
  ["go: go.mod requires go >= 1.26.8 (running go 1.22.2; GOTOOLCHAIN=local)", "no-toolchain", /go1\.26\.8/],
  ["verifying github.com/x/y@v1.0.0: checksum mismatch\n\nSECURITY ERROR", "wrong-checksum", /modcache/],
  [
    'cgo: C compiler "gcc" not found: exec: "gcc": executable file not found in $PATH',
    "no-c-compiler",
    /libc6-dev/,
  ],
  ["nsexec.c:2:10: fatal error: errno.h: No such file or directory", "no-c-compiler", /libc6-dev/],
  [
    "github.com/pulumi/pulumi: /usr/local/go/pkg/tool/linux_amd64/compile: signal: killed",
    "out-of-memory",
    /memory|close/,
  ],
] as const)("diagnoses %j as %s", (output, reason, fix) => {
  const error = diagnoseGoFailure("buildkitd v0.34.2", output);
  expect(error.reason).toBe(reason);
  expect(error.fix).toMatch(fix);
  expect(error.message).toContain("buildkitd v0.34.2");
  expect(error.message).toContain(output.split("\n").at(-1));
});

test("quotes the end of an unknown output", () => {
  const lines = Array.from({ length: 100 }, (_, number) => `line ${number}`);
  const error = diagnoseGoFailure("crane v1", lines.join("\n"));
  expect(error.reason).toBe("build-failed");
  expect(error.message).toContain("line 99");
  expect(error.message).not.toContain("line 20\n");
});
