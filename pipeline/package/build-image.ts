import { rm } from "node:fs/promises";
import { join } from "node:path";
import { withBuildContext } from "../../buildkit/client/context-folder.ts";
import type { ProgressEvent } from "../../buildkit/client/progress.ts";
import { RunningStep } from "../../buildkit/client/running-step.ts";
import { type Solved, solve } from "../../buildkit/client/solve.ts";
import { BuilderLost, type Job } from "../../buildkit/scheduler/scheduler.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { type LedgerRecord, UnsafeLedgerError } from "../../distro/ledger/ledger.ts";
import { platformsToRun } from "../../distro/recipe/run-platforms.ts";
import { generatorNamed } from "../../distro/tree/generations.ts";
import { sideBySide } from "../../lib/concurrently.ts";
import { withWorkFolder } from "../../lib/fs/temp-dir.ts";
import { type Image, requirePlatforms } from "../../oci/image.ts";
import { readLayout } from "../../oci/layout.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import { assembleLayout } from "../../oci/merge-platforms.ts";
import type { Work } from "../../providers/stagex/protocol/handler.ts";
import type { Workshop } from "../context/context.ts";
import type { Bench } from "../fleet/builder-connection.ts";
import type { Dependency } from "../fleet/fleet-registry.ts";
import {
  fetchSources,
  plannedFiles,
  requireDependencies,
  type SourceFile,
  sizedDependencies,
} from "./build-inputs.ts";
import { isRefused } from "./check-expected-digest.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { digestsOf } from "./ledger-lookup.ts";
import { type Fetching, withFetching } from "./network-access.ts";
import { keyOf } from "./package-key.ts";
import { isAsBefore } from "./rebuild-image.ts";

/**
 * Builds the image on one of the builders, or each platform on one of its own; stores it, and enters it in the ledger.
 * @param target the CPU vendor, or the builder's name, that it is to be built on; any where not given
 */
export async function build(
  workshop: Workshop,
  inputs: PackageInputs,
  work: Work,
  target?: string,
): Promise<PackageOutputs> {
  work.signal.throwIfAborted();
  const plan = await plannedFiles(workshop, inputs);
  await requireDependencies(workshop, inputs, work);
  const sources = await workshop.pulls(() => fetchSources(workshop, plan, inputs, work));
  const among = target === undefined ? undefined : await workshop.fleet.among(target, work);
  return await withWorkFolder(workshop.places.scratch, async (folder) => {
    const { result: parts, fetches } = await withFetching(workshop, inputs, plan, work, (fetching) => {
      const builders = among?.length ?? workshop.fleet.size;
      // They share the proxy and the folder: one that fails takes neither from those that are still at work.
      return sideBySide(
        platformParts(inputs, builders, fetching !== undefined),
        work.signal,
        (platforms, signal, number) => {
          const part = { platforms, target, among, layout: join(folder, `layout-${number}`), fetching };
          return buildPart(workshop, plan, inputs, sources, part, { ...work, signal });
        },
      );
    });
    const image = await storedWhole(workshop, inputs, parts, join(folder, "layout"), work);
    const outputs: PackageOutputs = {
      ...digestsOf(image, inputs.platforms),
      inputKey: keyOf(inputs),
      origin: "built",
    };
    for (const own of Map.groupBy(parts, ({ bench }) => bench).values())
      await enter(workshop, own, inputs, outputs, fetches, work);
    (await workshop.exchange())?.offer(inputs.image, outputs.reference, work);
    const seconds = Math.max(...parts.map((part) => part.seconds));
    workshop.journal.note({ image: inputs.image, digest: outputs.digest, origin: "built", seconds });
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
  readonly fetching: Fetching | undefined;
};

type BuiltPart = Part & {
  readonly bench: Bench;
  readonly seconds: number;
  readonly layerCheck: Solved["layerCheck"];
  readonly memory: Solved["memory"];
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
  workshop: Workshop,
  plan: BuildPlan,
  inputs: PackageInputs,
  sources: readonly SourceFile[],
  part: Part,
  work: Work,
): Promise<BuiltPart> {
  const dependencies = await sizedDependencies(workshop, inputs, part.platforms);
  const job = await jobOf(workshop, inputs, part, platformsToRun(plan, part.platforms), dependencies);
  const { result, bench } = await workshop.fleet.run(
    job,
    async (bench, signal, stir) => {
      const started = performance.now();
      const ingredients = { plan, sources, dependencies };
      const { layerCheck, memory } = await solveImage(workshop, bench, inputs, ingredients, part, {
        work: { ...work, signal },
        stir,
      });
      const seconds = (performance.now() - started) / 1000;
      stir("delivered");
      // Whatever a builder says, only what its bytes are counts: one that delivers others is not asked again for this image.
      const image = await received(workshop, inputs, { ...part, layerCheck }, { ...work, signal }).catch(
        async (error: unknown) => {
          await rm(part.layout, { recursive: true, force: true });
          if (!(error instanceof LayoutError) || workshop.fleet.size === 1) throw error;
          throw new BuilderLost(`what it delivered is not what it says: ${error.message}`, { cause: error });
        },
      );
      return { layerCheck, memory, image, seconds };
    },
    work,
  );
  const { manifests, index } = result.image;
  const exchange = await workshop.exchange();
  for (const digest of [index, ...manifests.map(({ digest }) => digest)]) {
    await workshop.fleet.holds(bench, digest);
    exchange?.holds(bench, digest);
  }
  return { ...part, ...result, bench };
}

/** Reads what a builder delivered, every blob hashed; into the store, in one pass, where it is all of the image. */
async function received(
  workshop: Workshop,
  inputs: PackageInputs,
  { platforms, layout, layerCheck }: Part & Pick<BuiltPart, "layerCheck">,
  work: Work,
): Promise<Image> {
  if (platforms.length < inputs.platforms.length) {
    const image = await readLayout(layout, { signal: work.signal });
    requirePlatforms(image, platforms, layout);
    return image;
  }
  work.progress("storing the image");
  const store = await workshop.store();
  return await store.adopt(layout, { layerCheck, platforms, signal: work.signal });
}

async function jobOf(
  workshop: Workshop,
  inputs: PackageInputs,
  { platforms, target, among }: Part,
  run: readonly string[],
  dependencies: readonly Dependency[],
): Promise<Job> {
  const { image } = inputs;
  const { seconds, remaining = 0, shared, memory } = (await workshop.expectations()).get(image) ?? {};
  return {
    key: [keyOf(inputs), ...platforms, target ?? ""].join(" "),
    ...{ image, platforms: run, seconds, remaining, shared, memory, among },
    inputs: dependencies.map(({ digest, bytes }) => ({ digest, bytes })),
  };
}

/** The image in the store, put together from its parts where it has several. */
async function storedWhole(
  workshop: Workshop,
  { image, version }: PackageInputs,
  parts: readonly BuiltPart[],
  whole: string,
  work: Work,
): Promise<Image> {
  const [first, ...others] = parts;
  if (!first) throw new Error(`${image} has no platform`);
  if (others.length === 0) return first.image;
  work.progress("storing the image");
  const layouts = parts.map(({ layout }) => layout);
  await assembleLayout(layouts, whole, image, version);
  const store = await workshop.store();
  // Its dependencies are the same for all platforms, and so are the layers that need no check.
  return await store.adopt(whole, { layerCheck: first.layerCheck, signal: work.signal });
}

/** What an image is built from. */
type Ingredients = {
  readonly plan: BuildPlan;
  readonly sources: readonly SourceFile[];
  readonly dependencies: readonly Dependency[];
};

async function solveImage(
  workshop: Workshop,
  bench: Bench,
  inputs: PackageInputs,
  { plan, sources, dependencies }: Ingredients,
  { platforms, target, layout, fetching }: Part,
  { work, stir }: { work: Work; stir: () => void },
): Promise<Solved> {
  const { scratch, logs } = workshop.places;
  const { root } = await workshop.tree();
  const store = await workshop.store();
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
  const exchange = await workshop.exchange();
  const repositories = (await exchange?.repositories(bench, dependencies, work)) ?? {};
  return await withBuildContext(files, async (context) => {
    const request = {
      endpoint: bench.endpoint,
      image: inputs.image,
      version: inputs.version,
      assembly: generatorNamed(inputs.generator).assembly,
      target: inputs.target ?? null,
      platforms,
      buildArgs: inputs.buildArgs,
      context,
      dependencies: inputs.dependencies,
      repositories,
      ...(fetching ? { proxy: await fetching.session.proxyFor(platforms[0] ?? "") } : {}),
      isAnew: !workshop.config.cache || (await workshop.isRebuilt(inputs.image)),
      store: store.root,
      destination: layout,
      scratch,
    };
    const step = new RunningStep();
    const options = {
      signal: work.signal,
      onProgress: (event: ProgressEvent) => {
        const line = step.take(event);
        if (line !== undefined) work.progress(line);
      },
      onActivity: stir,
      log: join(logs, `${words.join("-").replaceAll("/", "-")}.log`),
    };
    const solved = await (fetching?.session.guard(() => solve(request, options)) ?? solve(request, options));
    exchange?.note(bench, inputs.image, dependencies, solved, work);
    return solved;
  });
}

/**
 * Enters what one builder built. A digest other than the one that it is held against, on any platform, is entered as evidence, which never makes the key known.
 * @param parts all by the same builder, at least one
 */
async function enter(
  workshop: Workshop,
  parts: readonly BuiltPart[],
  inputs: PackageInputs,
  outputs: PackageOutputs,
  fetches: string | undefined,
  work: Work,
): Promise<void> {
  const [{ bench } = { bench: undefined }] = parts;
  if (!bench) return;
  const platforms = parts.flatMap((part) => part.platforms);
  const seconds = parts.reduce((sum, part) => sum + part.seconds, 0);
  const memory = Math.max(0, ...parts.map((part) => part.memory ?? 0));
  const mismatch =
    (await isRefused(workshop, inputs, outputs)) || !(await isAsBefore(workshop, inputs, outputs));
  const own = Object.entries(outputs.digests).filter(([platform]) => platforms.includes(platform));
  const record: LedgerRecord = {
    inputKey: keyOf(inputs),
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
  await workshop.built.record(record);
  await workshop.ledger.record(record).catch((error: unknown) => {
    // Others' doing: it keeps nobody from building.
    if (!(error instanceof UnsafeLedgerError)) throw error;
    work.report("warning", error.message);
  });
}
