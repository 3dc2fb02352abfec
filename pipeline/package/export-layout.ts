import { join } from "node:path";
import { exportedIndex } from "../../oci/exported-folder.ts";
import type { Work } from "../../providers/stagex/protocol/handler.ts";
import type { Workshop } from "../context/context.ts";
import { type PackageInputs, type PackageOutputs, packageOutputs } from "./inputs.ts";
import { keyOf } from "./package-key.ts";

/** Lays an image of the store out in the checkout's `out/`, as StageX's scripts expect it. */
export async function layOut(
  workshop: Workshop,
  image: string,
  { index }: Pick<PackageOutputs, "index">,
  { signal }: Pick<Work, "signal">,
): Promise<void> {
  const store = await workshop.store();
  await store.export(index, folderOf(workshop, image), signal);
}

/** Removes an image from `out/`, if it is that one which is there. The store keeps the blobs: other images share them. */
export async function takeOut(
  workshop: Workshop,
  image: string,
  outputs: Pick<PackageOutputs, "index"> | undefined,
): Promise<void> {
  const store = await workshop.store();
  await store.withdraw(folderOf(workshop, image), outputs?.index);
}

/**
 * Tells whether `out/` lacks an image that this machine has. The stacks of a checkout share the folder: destroying one takes its images out
 * of it, and one with other images of the same names puts those in their place.
 */
export async function isMissingInOut(
  workshop: Workshop,
  image: string,
  { digest, index }: Pick<PackageOutputs, "digest" | "index">,
): Promise<boolean> {
  if (exportedIndex(folderOf(workshop, image)) === index) return false;
  return (await workshop.store()).hasFiled(digest, index);
}

/**
 * Lays out again what the state has of an image; undefined where that is not of these inputs, or not whole any more: then it is to be made.
 */
export async function laidOutAgain(
  workshop: Workshop,
  inputs: PackageInputs,
  work: Work,
): Promise<PackageOutputs | undefined> {
  const before = packageOutputs.safeParse(work.before).data;
  if (before?.inputKey !== keyOf(inputs)) return undefined;
  work.progress("laying it out in out/");
  const store = await workshop.store();
  if ((await store.inspect(before.index, work.signal)).length > 0) return undefined;
  await layOut(workshop, inputs.image, before, work);
  return before;
}

function folderOf({ places }: Workshop, image: string): string {
  return join(places.out, image);
}
