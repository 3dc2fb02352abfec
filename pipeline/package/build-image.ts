import { rm } from "node:fs/promises";
import { join } from "node:path";
import { withBuildContext } from "../../buildkit/client/context-folder.ts";
import type { ProgressEvent } from "../../buildkit/client/progress.ts";
import { RunningStep } from "../../buildkit/client/running-step.ts";
import { type SolveResult, solve } from "../../buildkit/client/solve.ts";
import { BuilderLostError, type Job } from "../../buildkit/scheduler/scheduler.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { findGenerator } from "../../distro/generator/known-generators.ts";
import { type LedgerRecord, UnsafeLedgerError } from "../../distro/ledger/ledger.ts";
import { inputKeyOf } from "../../distro/plan/image-inputs.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { runConcurrently } from "../../lib/run-concurrently.ts";
import { type Image, requirePlatforms } from "../../oci/image.ts";
import { readLayout } from "../../oci/layout.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { mergePlatforms } from "../../oci/merge-platforms.ts";
import type { Context } from "../context/context.ts";
import type { BuilderConnection } from "../fleet/builder-connection.ts";
import type { Dependency } from "../fleet/fleet-registry.ts";
import type { Operation } from "../operation.ts";
import {
  fetchSources,
  measureDependencies,
  requireDependencies,
  requirePlan,
  type SourceFile,
} from "./build-inputs.ts";
import { isDigestMismatch } from "./check-expected-digest.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { imageDigestsOf } from "./ledger-lookup.ts";
import { type NetworkAccess, withNetworkAccess } from "./network-access.ts";
import { isAsRecorded } from "./rebuild-image.ts";

/**
 * Builds the image on one of the builders, or each platform on one of its own; stores it, and enters it in the ledger.
 * @param target the CPU vendor, or the builder's name, that it is to be built on; any where not given
 */
export async function buildImage(
  context: Context,
  inputs: PackageInputs,
  operation: Operation,
  target?: string,
): Promise<PackageOutputs> {
  operation.signal.throwIfAborted();
  const plan = await requirePlan(context, inputs);
  await requireDependencies(context, inputs, operation);
  const sources = await context.pullLimit(() => fetchSources(context, plan, inputs, operation));
  const among = target === undefined ? undefined : await context.fleet.findBuilders(target, operation);
  return await withTempDir(context.paths.scratch, async (folder) => {
    const { result: parts, fetches } = await withNetworkAccess(
      context,
      inputs,
      plan,
      operation,
      (fetching) => {
        const builders = among?.length ?? context.fleet.size;
        // They share the proxy and the folder: one that fails takes neither from those that are still at work.
        return runConcurrently(
          platformParts(inputs, builders, fetching !== undefined),
          operation.signal,
          (platforms, signal, number) => {
            const part = { platforms, target, among, layout: join(folder, `layout-${number}`), fetching };
            return buildPart(context, plan, inputs, sources, part, { ...operation, signal });
          },
        );
      },
    );
    const image = await storedWhole(context, inputs, parts, join(folder, "layout"), operation);
    const outputs: PackageOutputs = {
      ...imageDigestsOf(image, inputs.platforms),
      inputKey: inputKeyOf(inputs),
      origin: "built",
    };
    for (const own of Map.groupBy(parts, ({ bench }) => bench).values())
      await enter(context, own, inputs, outputs, fetches, operation);
    (await context.fleetRegistry())?.startPush(inputs.image, outputs.reference, operation);
    const seconds = Math.max(...parts.map((part) => part.seconds));
    context.runReport.note({ image: inputs.image, digest: outputs.digest, origin: "built", seconds });
    return outputs;
  });
}

/** What one builder builds of an image. */
type Part = {
  readonly platforms: readonly string[];
  readonly target: string | undefined;
  readonly among: readonly string[] | undefined;
  /** The folder that gets it. */
  readonly layout: string;
  readonly fetching: NetworkAccess | undefined;
};

type BuiltPart = Part & {
  readonly bench: BuilderConnection;
  readonly seconds: number;
  readonly layerCheck: SolveResult["layerCheck"];
  readonly memory: SolveResult["memory"];
  /** What its bytes are; in the store already where it is all of the image. */
  readonly image: Image;
};

/**
 * With several builders to choose from each platform goes to one of its own, so that all are built natively. So they are where a recipe
 * fetches: the program that gives a step the proxy is of the step's platform.
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
  plan: BuildPlan,
  inputs: PackageInputs,
  sources: readonly SourceFile[],
  part: Part,
  operation: Operation,
): Promise<BuiltPart> {
  const dependencies = await measureDependencies(context, inputs, part.platforms);
  const job = await jobOf(context, inputs, part, platformsToRun(plan, part.platforms), dependencies);
  const { result, bench } = await context.fleet.run(
    job,
    async (bench, signal, stir) => {
      const started = performance.now();
      const ingredients = { plan, sources, dependencies };
      const { layerCheck, memory } = await solveImage(context, bench, inputs, ingredients, part, {
        operation: { ...operation, signal },
        stir,
      });
      const seconds = (performance.now() - started) / 1000;
      stir("delivered");
      // Whatever a builder says, only what its bytes are counts: one that delivers others is not asked again for this image.
      const image = await received(context, inputs, { ...part, layerCheck }, { ...operation, signal }).catch(
        async (error: unknown) => {
          await rm(part.layout, { recursive: true, force: true });
          if (!(error instanceof LayoutError) || context.fleet.size === 1) throw error;
          throw new BuilderLostError(`what it delivered is not what it says: ${error.message}`, {
            cause: error,
          });
        },
      );
      return { layerCheck, memory, image, seconds };
    },
    operation,
  );
  const { manifests, index } = result.image;
  const exchange = await context.fleetRegistry();
  for (const digest of [index, ...manifests.map(({ digest }) => digest)]) {
    await context.fleet.noteImage(bench, digest);
    exchange?.noteImage(bench, digest);
  }
  return { ...part, ...result, bench };
}

/** Reads what a builder delivered, every blob hashed; into the store, in one pass, where it is all of the image. */
async function received(
  context: Context,
  inputs: PackageInputs,
  { platforms, layout, layerCheck }: Part & Pick<BuiltPart, "layerCheck">,
  operation: Operation,
): Promise<Image> {
  if (platforms.length < inputs.platforms.length) {
    const image = await readLayout(layout, { signal: operation.signal });
    requirePlatforms(image, platforms, layout);
    return image;
  }
  operation.progress("storing the image");
  const store = await context.store();
  return await store.adopt(layout, { layerCheck, platforms, signal: operation.signal });
}

async function jobOf(
  context: Context,
  inputs: PackageInputs,
  { platforms, target, among }: Part,
  run: readonly string[],
  dependencies: readonly Dependency[],
): Promise<Job> {
  const { image } = inputs;
  const { seconds, remaining = 0, shared, memory } = (await context.expectations()).get(image) ?? {};
  return {
    key: [inputKeyOf(inputs), ...platforms, target ?? ""].join(" "),
    ...{ image, platforms: run, seconds, remaining, shared, memory, allowedBuilders: among },
    inputs: dependencies.map(({ digest, bytes }) => ({ digest, bytes })),
  };
}

/** The image in the store, put together from its parts where it has several. */
async function storedWhole(
  context: Context,
  { image, version }: PackageInputs,
  parts: readonly BuiltPart[],
  whole: string,
  operation: Operation,
): Promise<Image> {
  const [first, ...others] = parts;
  if (!first) throw new Error(`${image} has no platform`);
  if (others.length === 0) return first.image;
  operation.progress("storing the image");
  const layouts = parts.map(({ layout }) => layout);
  await mergePlatforms(layouts, whole, image, version);
  const store = await context.store();
  // Its dependencies are the same for all platforms, and so are the layers that need no check.
  return await store.adopt(whole, { layerCheck: first.layerCheck, signal: operation.signal });
}

/** What an image is built from. */
type Ingredients = {
  readonly plan: BuildPlan;
  readonly sources: readonly SourceFile[];
  readonly dependencies: readonly Dependency[];
};

async function solveImage(
  context: Context,
  bench: BuilderConnection,
  inputs: PackageInputs,
  { plan, sources, dependencies }: Ingredients,
  { platforms, target, layout, fetching }: Part,
  { operation, stir }: { operation: Operation; stir: () => void },
): Promise<SolveResult> {
  const { scratch, logs } = context.paths;
  const { root } = await context.tree();
  const store = await context.store();
  const files = {
    folder: join(root, plan.folder),
    files: plan.context,
    recipe: { path: join(root, plan.recipe), sha256: plan.containerfile },
    sources: [...sources],
    ...(fetching ? { rewrite: fetching.rewrite } : {}),
    scratch,
  };
  const isWhole = platforms.length === inputs.platforms.length;
  const words = [inputs.image, ...(target ? [target] : []), ...(isWhole ? [] : platforms)];
  const exchange = await context.fleetRegistry();
  const repositories = (await exchange?.repositoriesFor(bench, dependencies, operation)) ?? {};
  return await withBuildContext(files, async (buildContext) => {
    const request = {
      endpoint: bench.endpoint,
      image: inputs.image,
      version: inputs.version,
      assembly: findGenerator(inputs.generator).commonOptions,
      target: inputs.target ?? null,
      platforms,
      buildArgs: inputs.buildArgs,
      context: buildContext,
      dependencies: inputs.dependencies,
      repositories,
      ...(fetching ? { proxy: await fetching.session.proxyFor(platforms[0] ?? "") } : {}),
      noCache: !context.config.cache || (await context.isRebuilt(inputs.image)),
      store: store.root,
      destination: layout,
      scratch,
    };
    const step = new RunningStep();
    const options = {
      signal: operation.signal,
      onProgress: (event: ProgressEvent) => {
        const line = step.take(event);
        if (line !== undefined) operation.progress(line);
      },
      onActivity: stir,
      log: join(logs, `${words.join("-").replaceAll("/", "-")}.log`),
    };
    const solved = await (fetching?.session.guard(() => solve(request, options)) ?? solve(request, options));
    exchange?.noteTransfers(bench, inputs.image, dependencies, solved, operation);
    return solved;
  });
}

/**
 * Enters what one builder built. A digest other than the one that it is held against, on any platform, is entered as evidence, which never makes the key known.
 * @param parts all by the same builder, at least one
 */
async function enter(
  context: Context,
  parts: readonly BuiltPart[],
  inputs: PackageInputs,
  outputs: PackageOutputs,
  fetches: string | undefined,
  operation: Operation,
): Promise<void> {
  const [{ bench } = { bench: undefined }] = parts;
  if (!bench) return;
  const platforms = parts.flatMap((part) => part.platforms);
  const seconds = parts.reduce((sum, part) => sum + part.seconds, 0);
  const memory = Math.max(0, ...parts.map((part) => part.memory ?? 0));
  const mismatch =
    (await isDigestMismatch(context, inputs, outputs)) || !(await isAsRecorded(context, inputs, outputs));
  const own = Object.entries(outputs.digests).filter(([platform]) => platforms.includes(platform));
  const record: LedgerRecord = {
    inputKey: inputKeyOf(inputs),
    image: inputs.image,
    digests: { index: outputs.index, platforms: Object.fromEntries(own) },
    builder: { id: bench.id, facts: bench.facts },
    seconds,
    ...(memory > 0 ? { memory } : {}),
    outcome: mismatch ? "mismatch" : "built",
    finished: new Date().toISOString(),
    ...(fetches === undefined ? {} : { fetches }),
  };
  // First where nobody else writes: the ledger's word alone is never enough to sign.
  await context.built.append(record);
  await context.ledger.append(record).catch((error: unknown) => {
    // Others' doing: it keeps nobody from building.
    if (!(error instanceof UnsafeLedgerError)) throw error;
    operation.report("warning", error.message);
  });
}
