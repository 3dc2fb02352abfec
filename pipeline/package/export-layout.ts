import { join } from "node:path";
import { findLayoutImage } from "../../oci/layout.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { type KeyedPackage, type PackageOutputs, packageOutputs } from "./inputs.ts";

/** Exports an image from the store to the checkout's `out/`, as StageX's scripts expect it. */
export async function exportLayout(
  context: Context,
  image: string,
  { index }: Pick<PackageOutputs, "index">,
  { signal }: Pick<Operation, "signal">,
): Promise<void> {
  const store = await context.store();
  await store.export(index, folderOf(context, image), signal);
}

/**
 * Removes an image from `out/` if the folder has that very image. Its blobs stay in the store:
 * other images share them.
 */
export async function removeExport(
  context: Context,
  image: string,
  outputs: Pick<PackageOutputs, "index"> | undefined,
): Promise<void> {
  const store = await context.store();
  await store.removeExport(folderOf(context, image), outputs?.index);
}

/**
 * Tells whether `out/` lacks an image that the store has. All stacks of a checkout share the
 * folder: another stack may have removed the image, or replaced it with its own of the same name.
 */
export async function isExportMissing(
  context: Context,
  image: string,
  { digest, index }: Pick<PackageOutputs, "digest" | "index">,
): Promise<boolean> {
  if (findLayoutImage(folderOf(context, image)) === index) return false;
  return (await context.store()).hasRecord(digest, index);
}

/**
 * Exports the image in the state again. Returns undefined where that has other inputs or is
 * damaged, so that it must be made.
 */
export async function exportAgain(
  context: Context,
  { image, inputKey }: KeyedPackage,
  operation: Operation,
): Promise<PackageOutputs | undefined> {
  const before = packageOutputs.safeParse(operation.before).data;
  if (before?.inputKey !== inputKey) return undefined;
  operation.progress("laying it out in out/");
  const store = await context.store();
  if ((await store.inspect(before.index, operation.signal)).length > 0) return undefined;
  await exportLayout(context, image, before, operation);
  return before;
}

function folderOf({ paths }: Context, image: string): string {
  return join(paths.out, image);
}
