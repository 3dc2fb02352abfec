import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { buildImage } from "./build-image.ts";
import { checkExpectedDigest } from "./check-expected-digest.ts";
import { buildOnEach } from "./cross-build.ts";
import { exportAgain, exportLayout } from "./export-layout.ts";
import { type KeyedPackage, type PackageInputs, type PackageOutputs, withInputKey } from "./inputs.ts";
import { lookUpLedger } from "./ledger-lookup.ts";
import { rebuildImage } from "./rebuild-image.ts";
import { substituteImage } from "./substitute.ts";

/**
 * Makes a package's image: finds it in the ledger or in a registry, or builds it. Then compares it
 * with the published digest and exports it to `out/`.
 * @param isExportMissing true where nothing has changed but that `out/` lacks the image
 */
export async function makePackage(
  context: Context,
  inputs: PackageInputs,
  operation: Operation,
  isExportMissing = false,
): Promise<PackageOutputs> {
  const keyed = withInputKey(inputs);
  const unchanged = isExportMissing ? await exportAgain(context, keyed, operation) : undefined;
  if (unchanged) return unchanged;
  try {
    const image = await obtainImage(context, keyed, operation);
    await checkExpectedDigest(context, inputs, image, operation);
    await exportLayout(context, inputs.image, image, operation);
    return image;
  } catch (error) {
    // A cancelled build has not failed.
    if (!operation.signal.aborted) context.runReport.note({ image: inputs.image, origin: "failed" });
    throw error;
  }
}

/**
 * Finds the image in the ledger or in a registry, and builds it where neither has it or a build is
 * asked for.
 */
async function obtainImage(
  context: Context,
  inputs: KeyedPackage,
  operation: Operation,
): Promise<PackageOutputs> {
  if (await context.isRebuilt(inputs.image)) {
    const rebuild = () => buildWhereAsked(context, inputs, undefined, operation);
    return await rebuildImage(context, inputs, rebuild, operation);
  }
  const known =
    (await lookUpLedger(context, inputs, operation)) ?? (await substituteImage(context, inputs, operation));
  return await buildWhereAsked(context, inputs, known, operation);
}

/**
 * Builds an unknown image on one builder; with `reproduceOn` also a known one, on each target that
 * has not built it.
 */
async function buildWhereAsked(
  context: Context,
  inputs: KeyedPackage,
  known: PackageOutputs | undefined,
  operation: Operation,
): Promise<PackageOutputs> {
  const { reproduceOn } = inputs;
  if (reproduceOn) return await buildOnEach(context, inputs, reproduceOn, known, operation);
  return known ?? (await buildImage(context, inputs, operation));
}
