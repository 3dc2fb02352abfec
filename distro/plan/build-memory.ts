import type { BuildPlan } from "../build-plan.ts";
import type { LedgerRecord } from "../ledger/ledger.ts";

const gibibyte = 2 ** 30;

/**
 * Orders of magnitude, in GiB, for images without a measurement. So a first run does not start two
 * of these on one small machine. The first fitting name counts; all other images are small.
 */
const modelled: readonly (readonly [RegExp, number])[] = [
  [/^core-(llvm|clang|lld|mlir|rust)/, 12],
  [/^core-nodejs$/, 8],
  [/^core-(cross-.*-)?gcc$|^bootstrap-stage3$/, 4],
  [/^user-(qemu|lldb|edk2|gdb|linux-.*)$/, 4],
];

/**
 * Estimates the bytes of memory that each image takes while it is built, in whole GiB. Uses the
 * most that was measured of any image of its Containerfile, as they share their steps; else its
 * name. Leaves out images that take less than one GiB.
 */
export function estimateMemory(
  images: ReadonlyMap<string, Pick<BuildPlan, "name" | "recipe">>,
  records: readonly Pick<LedgerRecord, "image" | "memory">[],
): Map<string, number> {
  const measured = new Map<string, number>();
  for (const { image, memory } of records) {
    const recipe = images.get(image)?.recipe;
    if (recipe === undefined || memory === undefined) continue;
    measured.set(recipe, Math.max(memory, measured.get(recipe) ?? 0));
  }
  const expected = new Map<string, number>();
  for (const { name, recipe } of images.values()) {
    const bytes = measured.get(recipe) ?? (modelledGib(name) ?? 0) * gibibyte;
    if (bytes >= gibibyte) expected.set(name, Math.ceil(bytes / gibibyte) * gibibyte);
  }
  return expected;
}

function modelledGib(name: string): number | undefined {
  return modelled.find(([pattern]) => pattern.test(name))?.[1];
}
