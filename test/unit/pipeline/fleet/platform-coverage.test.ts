import { expect, test } from "vitest";
import {
  findUnbuildableImages,
  formatOtherPlatforms,
  formatUnbuildableImages,
  plannedPlatforms,
} from "../../../../pipeline/fleet/platform-coverage.ts";

const [intel, graviton] = [["linux/amd64", "linux/386"], ["linux/arm64"]];
const arm = ["linux/arm64"];
const plans = [
  { name: "stage0", platforms: ["linux/386"], runs: ["target"] },
  { name: "stage3", platforms: arm, runs: ["linux/386", "target"] },
  { name: "go", platforms: arm, runs: ["linux/386"] },
  { name: "musl", platforms: arm, runs: ["target"] },
  { name: "files", platforms: arm, runs: [] },
];
const namesFor = (...builders: string[][]) =>
  findUnbuildableImages(plans, builders).map(({ image }) => image);

test("finds i386 images unbuildable on Graviton, and arm64 images on x86", () => {
  expect(namesFor(graviton)).toEqual(["stage0", "stage3", "go"]);
  expect(namesFor(intel)).toEqual(["stage3", "musl"]);
  expect(namesFor(graviton, intel)).toEqual(["stage3"]);
  expect(namesFor([...intel, "linux/arm64"])).toEqual([]);
});

test("plans each platform for its own builder, or all for a single builder", () => {
  const both = [{ name: "musl", platforms: ["linux/amd64", "linux/arm64"], runs: ["target"] }];
  expect(findUnbuildableImages(both, [intel, graviton])).toEqual([]);
  expect(findUnbuildableImages(both, [graviton])).toEqual([
    { image: "musl", runs: ["linux/amd64", "linux/arm64"] },
  ]);
});

test("names the first images of each reason", () => {
  const many = Array.from({ length: 7 }, (_, index) => ({ image: `core-${index}`, runs: arm }));
  expect(
    String(formatUnbuildableImages([{ image: "go", runs: ["linux/386", "linux/arm64"] }, ...many])),
  ).toBe(
    [
      "8 images run programs in steps that no builder of this stack runs, and can't be built here:",
      "  linux/386 and linux/arm64 on one builder: go",
      "  linux/arm64: core-0, core-1, core-2, core-3, core-4 and 2 more",
      "Add such a builder (docs/fleets.md), or pull them (stagex:substitute).",
    ].join("\n"),
  );
});

test("plans no platforms where only a builder can tell them", async () => {
  const declared = { name: "a", address: "tcp://192.0.2.1:1", platforms: arm };
  const silent = { name: "b", address: "tcp://192.0.2.2:1" };
  expect(await plannedPlatforms({ builders: [declared] })).toEqual([arm]);
  expect(await plannedPlatforms({ builders: [declared, silent] })).toBeUndefined();
  expect(await plannedPlatforms({ buildkit: "tcp://192.0.2.1:1" })).toBeUndefined();
  expect(await plannedPlatforms({ builders: [declared], localBuilders: 2 })).toHaveLength(3);
});

test("names images for other platforms than those asked for", () => {
  expect(String(formatOtherPlatforms(plans, arm))).toBe(
    "not for linux/arm64, as their package.toml says, and built for their own platforms: stage0 (linux/386)",
  );
  expect(formatOtherPlatforms(plans.slice(1), arm)).toBeUndefined();
});
