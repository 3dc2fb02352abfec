import { join } from "node:path";
import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { readExportedIndex } from "../../oci/exported-folder.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { type PackageInputs, type PackageOutputs, packageOutputs } from "./inputs.ts";

/** Lays an image of the store out in the checkout's `out/`, as StageX's scripts expect it. */
export async function exportLayout(
  context: Context,
  image: string,
  { index }: Pick<PackageOutputs, "index">,
  { signal }: Pick<Operation, "signal">,
): Promise<void> {
  const store = await context.store();
  await store.export(index, folderOf(context, image), signal);
}

/** Removes an image from `out/`, if it is that one which is there. The store keeps the blobs: other images share them. */
export async function removeExport(
  context: Context,
  image: string,
  outputs: Pick<PackageOutputs, "index"> | undefined,
): Promise<void> {
  const store = await context.store();
  await store.removeExport(folderOf(context, image), outputs?.index);
}

/**
 * Tells whether `out/` lacks an image that this machine has. The stacks of a checkout share the folder: destroying one takes its images out
 * of it, and one with other images of the same names puts those in their place.
 */
export async function isExportMissing(
  context: Context,
  image: string,
  { digest, index }: Pick<PackageOutputs, "digest" | "index">,
): Promise<boolean> {
  if (readExportedIndex(folderOf(context, image)) === index) return false;
  return (await context.store()).hasRecord(digest, index);
}

/**
 * Lays out again what the state has of an image; undefined where that is not of these inputs, or not whole any more: then it is to be made.
 */
export async function exportAgain(
  context: Context,
  inputs: PackageInputs,
  operation: Operation,
): Promise<PackageOutputs | undefined> {
  const before = packageOutputs.safeParse(operation.before).data;
  if (before?.inputKey !== inputKeyOf(inputs)) return undefined;
  operation.progress("laying it out in out/");
  const store = await context.store();
  if ((await store.inspect(before.index, operation.signal)).length > 0) return undefined;
  await exportLayout(context, inputs.image, before, operation);
  return before;
}

function folderOf({ paths }: Context, image: string): string {
  return join(paths.out, image);
}
