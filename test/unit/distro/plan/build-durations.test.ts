import { expect, test } from "vitest";
import type { BuildPlan } from "../../../../distro/build-plan.ts";
import {
  defaultSeconds,
  estimateBuilds,
  estimateJointSeconds,
  medianSeconds,
} from "../../../../distro/plan/build-durations.ts";

function plan(name: string, dependencies: string[] = [], recipe = `${name}/Containerfile`): BuildPlan {
  return {
    ...{
      name,
      dependencies,
      recipe,
      stage: "core",
      origin: name,
      folder: name,
      containerfile: "",
      target: null,
    },
    ...{
      version: "1",
      platforms: ["linux/amd64"],
      buildArgs: {},
      sources: [],
      context: [],
      runs: [],
      refusals: [],
      fetchers: [],
    },
  };
}

function tree(...plans: BuildPlan[]): Map<string, BuildPlan> {
  return new Map(plans.map((each) => [each.name, each]));
}

test("takes an image's recorded seconds, else those of its kind", () => {
  const images = tree(plan("core-gcc"), plan("core-zlib"), plan("user-age", ["pallet-go"]));
  const found = estimateBuilds(images, new Map([["core-zlib", 7]]));
  expect(found.get("core-zlib")).toEqual({ seconds: 7, remaining: 7, shared: undefined });
  expect(found.get("core-gcc")?.seconds).toBeGreaterThan(100 * 7);
  expect(found.get("user-age")?.seconds).toBe(defaultSeconds(plan("user-yq", ["core-go"])));
});

test("adds the longest chain of dependents", () => {
  const images = tree(plan("a"), plan("b", ["a"]), plan("c", ["a"]), plan("d", ["b", "c"]));
  const recorded = new Map([
    ["a", 1],
    ["b", 2],
    ["c", 5],
    ["d", 1],
  ]);
  const remaining = [...estimateBuilds(images, recorded)].map(([name, found]) => [name, found.remaining]);
  expect(Object.fromEntries(remaining)).toEqual({ a: 7, b: 3, c: 6, d: 1 });
});

test("derives the shared seconds of subpackages from all but the longest", () => {
  const images = tree(
    plan("llvm", [], "L"),
    plan("clang", [], "L"),
    plan("lld", [], "L"),
    plan("mlir", [], "L"),
  );
  const recorded = new Map([
    ["llvm", 3000],
    ["clang", 10],
    ["lld", 8],
  ]);
  const found = estimateBuilds(images, recorded);
  expect(found.get("llvm")).toMatchObject({ seconds: 3000, shared: { name: "L", seconds: 2990 } });
  expect(found.get("lld")).toMatchObject({ seconds: 2998, shared: { name: "L", seconds: 2990 } });
  expect(found.get("mlir")?.seconds).toBe(3000);
});

test("counts shared steps once, for the subpackage with the longest chain", () => {
  const images = tree(plan("clang", ["llvm"], "L"), plan("llvm", [], "L"), plan("zlib"));
  const recorded = new Map([
    ["llvm", 3000],
    ["clang", 10],
    ["zlib", 7],
  ]);
  const found = estimateBuilds(images, recorded);
  const together = (names: string[]) => Object.fromEntries(estimateJointSeconds(names, found));
  expect(together(["clang", "llvm", "zlib"])).toEqual({ llvm: 3000, clang: 10, zlib: 7 });
  expect(together(["clang"])).toEqual({ clang: 3000 });
  expect(together(["none-such"])).toEqual({});
});

test("derives hardly any shared seconds from equal durations", () => {
  const images = tree(plan("generic", [], "linux"), plan("server", [], "linux"));
  const recorded = new Map([
    ["generic", 900],
    ["server", 880],
  ]);
  expect(estimateBuilds(images, recorded).get("server")).toMatchObject({
    seconds: 900,
    shared: { seconds: 20 },
  });
});

test("takes the median of an image's records, without imported ones", () => {
  const records = [5, 100, 7, null].map((seconds) => ({ image: "a", seconds }));
  expect(medianSeconds([...records, { image: "b", seconds: null }])).toEqual(new Map([["a", 7]]));
});
