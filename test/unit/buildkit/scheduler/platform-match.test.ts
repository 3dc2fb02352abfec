import { expect, test } from "vitest";
import { matchPlatforms } from "../../../../buildkit/scheduler/platform-match.ts";

const intel = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/386"];
const intelWithEmulators = [...intel, "linux/arm64", "linux/riscv64"];
const arm = ["linux/arm64", "linux/arm/v7"];
const armWithEmulators = ["linux/arm64", "linux/amd64", "linux/386"];

test.each([
  [intel, ["linux/amd64"], "native"],
  [intel, ["linux/amd64/v3"], "native"],
  [intel, ["linux/386"], "native"],
  [["linux/amd64"], ["linux/386"], "native"],
  [intel, ["linux/arm64"], "none"],
  [intelWithEmulators, ["linux/arm64"], "emulated"],
  [intelWithEmulators, ["linux/arm64/v8"], "emulated"],
  [arm, ["linux/arm64/v8"], "native"],
  [arm, ["linux/386"], "none"],
  [armWithEmulators, ["linux/amd64"], "emulated"],
  [armWithEmulators, ["linux/386"], "none"],
  [intelWithEmulators, ["linux/amd64", "linux/arm64"], "emulated"],
  [armWithEmulators, ["linux/amd64", "linux/386"], "none"],
  [[], ["linux/amd64"], "none"],
  [intel, [], "native"],
  [[], [], "native"],
])("matches %j with %j: %s", (platforms, wanted, fit) => {
  expect(matchPlatforms(platforms, wanted)).toBe(fit);
});
