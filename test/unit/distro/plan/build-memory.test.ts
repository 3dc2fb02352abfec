import { expect, test } from "vitest";
import { estimateMemory } from "../../../../distro/plan/build-memory.ts";

const gibibyte = 2 ** 30;
const images = new Map(
  ["core-clang", "core-clang-libs", "core-gcc", "core-zlib", "user-app"].map((name) => [
    name,
    { name, recipe: name.replace("-libs", "") },
  ]),
);
const inGib = (records: { image: string; memory?: number }[]) =>
  Object.fromEntries([...estimateMemory(images, records)].map(([name, bytes]) => [name, bytes / gibibyte]));

test("estimates by name without a measurement, and leaves out small images", () => {
  expect(inGib([])).toEqual({ "core-clang": 12, "core-clang-libs": 12, "core-gcc": 4 });
});

test("takes the most measured for its Containerfile, rounded up to a GiB", () => {
  const found = inGib([
    { image: "core-clang", memory: 5.2 * gibibyte },
    { image: "core-clang-libs", memory: 1000 },
    { image: "core-gcc", memory: 1000 },
    { image: "user-app", memory: gibibyte },
    { image: "user-app", memory: 2 * gibibyte },
    { image: "user-app" },
    { image: "core-gone", memory: 9 * gibibyte },
  ]);
  expect(found).toEqual({ "core-clang": 6, "core-clang-libs": 6, "user-app": 2 });
});
