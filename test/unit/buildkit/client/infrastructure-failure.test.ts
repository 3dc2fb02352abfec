import { expect, test } from "vitest";
import { diagnoseInfrastructure } from "../../../../buildkit/client/infrastructure-failure.ts";

const endpoint = { address: "tcp://192.0.2.1:1234", buildctl: "buildctl" };
const own = "/state/scratch/layout";

function step(error: string, tail: readonly string[] = []) {
  return { step: "build 1/2", name: "RUN make", error, wasKilled: false, tail };
}

test.each([
  ["failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF", "gone"],
  ["failed to solve: Canceled: context canceled", "gone"],
  ['process "make" did not complete successfully: exit code: 137: context canceled', "gone"],
  ["failed to copy: write /var/lib/buildkit/x: no space left on device", "disk"],
])("blames the builder for %s", (words, kind) => {
  expect(diagnoseInfrastructure(endpoint, undefined, words, own)?.kind).toBe(kind);
  expect(diagnoseInfrastructure(endpoint, step(words), "", own)?.kind).toBe(kind);
});

test("blames the builder for a full disk that a program reports", () => {
  const exit = 'process "make" did not complete successfully: exit code: 1';
  expect(diagnoseInfrastructure(endpoint, step(exit, ["cc: No space left on device"]), "", own)?.kind).toBe(
    "disk",
  );
});

test.each([
  ['process "make" did not complete successfully: exit code: 2', ["test: got Unavailable, wanted EOF"]],
  ["dockerfile parse error on line 3: unexpected EOF", []],
  [`failed to write ${own}/blobs/sha256/x: no space left on device`, []],
])("does not blame the builder for %s", (words, tail) => {
  expect(diagnoseInfrastructure(endpoint, step(words, tail), "", own)).toBe(undefined);
});
