import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { SolveResult } from "../../buildkit/client/solve.ts";
import { BuilderLostError, type Job } from "../../buildkit/scheduler/scheduler.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { runConcurrently } from "../../lib/run-concurrently.ts";
import { type Image, requirePlatforms } from "../../oci/image.ts";
import { readLayout } from "../../oci/layout.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { mergePlatforms } from "../../oci/merge-platforms.ts";
import type { Store } from "../../oci/store/store.ts";
import type { Context } from "../context/context.ts";
import type { BuilderConnection } from "../fleet/builder-connection.ts";
import type { Operation } from "../operation.ts";
import { fetchSources, measureDependencies, requireDependencies, requirePlan } from "./build-inputs.ts";
import type { KeyedPackage, PackageInputs, PackageOutputs } from "./inputs.ts";
import { imageDigestsOf } from "./ledger-lookup.ts";
import { withNetworkAccess } from "./network-access.ts";
import { recordBuild } from "./record-build.ts";
import { type BuildMaterials, type BuildPart, solveImage } from "./solve-image.ts";

/**
 * Builds an image on one of the builders, or each platform on one of its own; stores it and records
 * it in the ledgers.
 * @param target the CPU vendor, or the builder's name, to build on; any where not given
 */
export async function buildImage(
  context: Context,
  inputs: KeyedPackage,
  operation: Operation,
  target?: string,
): Promise<PackageOutputs> {
  operation.signal.throwIfAborted();
  const plan = await requirePlan(await context.tree(), inputs);
  await requireDependencies(await context.store(), inputs, operation);
  const sources = await context.pullLimit(() => fetchSources(context, plan, inputs, operation));
  const builders = target === undefined ? undefined : await context.fleet.findBuilders(target, operation);
  return await withTempDir(context.paths.scratch, async (folder) => {
    const { result: parts, fetches } = await withNetworkAccess(context, inputs, plan, operation, (network) =>
      // The parts share the proxy and the folder, so none is ended before all have come to their
      // end.
      runConcurrently(
        platformParts(inputs, builders?.length ?? context.fleet.size, network !== undefined),
        operation.signal,
        (platforms, signal, number) => {
          const part = { platforms, target, builders, layout: join(folder, `layout-${number}`), network };
          return buildPart(context, inputs, { plan, sources }, part, { ...operation, signal });
        },
      ),
    );
    const image = await storeWhole(await context.store(), inputs, parts, join(folder, "layout"), operation);
    const outputs: PackageOutputs = {
      ...imageDigestsOf(image, inputs.platforms),
      inputKey: inputs.inputKey,
      origin: "built",
    };
    for (const [first, ...others] of Map.groupBy(parts, ({ builder }) => builder).values())
      if (first) await recordBuild(context, [first, ...others], inputs, outputs, fetches, operation);
    (await context.fleetRegistry())?.startPush(inputs.image, outputs.reference, operation);
    const seconds = Math.max(...parts.map((part) => part.seconds));
    context.runReport.note({ image: inputs.image, digest: outputs.digest, origin: "built", seconds });
    return outputs;
  });
}

type BuiltPart = BuildPart &
  Pick<SolveResult, "layerCheck" | "memory"> & {
    readonly builder: BuilderConnection;
    readonly seconds: number;
    /** As read from its bytes; in the store already where the part is the whole image. */
    readonly image: Image;
  };

/**
 * Splits an image's platforms into parts. With several builders to choose from each platform is
 * built on one of its own, so natively. A recipe that fetches is split too: the program that gives
 * a step the proxy is for one platform.
 */
function platformParts(
  { platforms }: PackageInputs,
  builders: number,
  isFetching: boolean,
): (readonly string[])[] {
  return builders > 1 || isFetching ? platforms.map((platform) => [platform]) : [platforms];
}

async function buildPart(
  context: Context,
  inputs: KeyedPackage,
  { plan, sources }: Omit<BuildMaterials, "dependencies">,
  part: BuildPart,
  operation: Operation,
): Promise<BuiltPart> {
  const store = await context.store();
  const dependencies = await measureDependencies(store, inputs, part.platforms);
  const materials = { plan, sources, dependencies };
  const { result, builder } = await context.fleet.run(
    await jobOf(context, inputs, materials, part),
    async (builder, signal, heartbeat) => {
      const run = { ...operation, signal };
      const started = performance.now();
      const solved = await solveImage(context, builder, inputs, materials, part, run, heartbeat);
      const seconds = (performance.now() - started) / 1000;
      heartbeat("delivered");
      const { layerCheck, memory } = solved;
      const image = await receivePart(store, inputs, part, solved, run).catch(async (error: unknown) => {
        await rm(part.layout, { recursive: true, force: true });
        // The bytes alone count: a builder that delivers others than it claims does not build this
        // image again.
        if (!(error instanceof LayoutError) || context.fleet.size === 1) throw error;
        throw new BuilderLostError(`what it delivered is not what it says: ${error.message}`, {
          cause: error,
        });
      });
      return { layerCheck, memory, image, seconds };
    },
    operation,
  );
  const { manifests, index } = result.image;
  const fleetRegistry = await context.fleetRegistry();
  for (const digest of [index, ...manifests.map(({ digest }) => digest)]) {
    await context.fleet.noteImage(builder, digest);
    fleetRegistry?.noteImage(builder, digest);
  }
  return { ...part, ...result, builder };
}

/** Describes a part to the scheduler. */
async function jobOf(
  context: Context,
  { image, inputKey }: KeyedPackage,
  { plan, dependencies }: BuildMaterials,
  { platforms, target, builders }: BuildPart,
): Promise<Job> {
  const { seconds, remaining = 0, shared, memory } = (await context.expectations()).get(image) ?? {};
  return {
    key: [inputKey, ...platforms, target ?? ""].join(" "),
    ...{ image, seconds, remaining, shared, memory, allowedBuilders: builders },
    platforms: platformsToRun(plan, platforms),
    inputs: dependencies.map(({ digest, bytes }) => ({ digest, bytes })),
  };
}

/**
 * Reads a part that a builder delivered and hashes every blob. A part that is the whole image is
 * stored in the same pass.
 */
async function receivePart(
  store: Store,
  inputs: PackageInputs,
  { platforms, layout }: BuildPart,
  { layerCheck }: Pick<SolveResult, "layerCheck">,
  { signal, progress }: Operation,
): Promise<Image> {
  if (platforms.length < inputs.platforms.length) {
    const image = await readLayout(layout, { signal });
    requirePlatforms(image, platforms, layout);
    return image;
  }
  progress("storing the image");
  return await store.adopt(layout, { layerCheck, platforms, signal });
}

/** Merges an image's parts, where it has several, and stores it. */
async function storeWhole(
  store: Store,
  { image, version }: PackageInputs,
  parts: readonly BuiltPart[],
  whole: string,
  { signal, progress }: Operation,
): Promise<Image> {
  const [first, ...others] = parts;
  if (!first) throw new Error(`${image} has no platform`);
  if (others.length === 0) return first.image;
  progress("storing the image");
  const layouts = parts.map(({ layout }) => layout);
  await mergePlatforms(layouts, whole, image, version);
  // All platforms have the same dependencies, so the same layers need no check.
  return await store.adopt(whole, { layerCheck: first.layerCheck, signal });
}
