import { dirname, join } from "node:path";
import { withBuildContext } from "../../../buildkit/context-folder.ts";
import { type ProgressEvent, summarize } from "../../../buildkit/progress.ts";
import { solve } from "../../../buildkit/solve.ts";
import type { BuildPlan } from "../../../distro/build-plan.ts";
import type { LedgerRecord } from "../../../distro/ledger.ts";
import { hexOf } from "../../../oci/digest.ts";
import type { Image } from "../../../oci/image.ts";
import type { SourceProgress } from "../../../sources/source-cache.ts";
import type { Bench } from "../bench.ts";
import type { Work } from "../handler.ts";
import type { Workshop } from "../workshop.ts";
import type { PackageInputs, PackageOutputs } from "./inputs.ts";
import { keyOf } from "./key.ts";
import { contextOfPlan, digestFrom } from "./plan.ts";
import { digestsOf } from "./record.ts";

/** A source in the cache, its hash verified. */
type SourceFile = { readonly file: string; readonly path: string };

/** Builds the image in a slot of its own, stores it and enters it in the ledger. */
export async function build(workshop: Workshop, inputs: PackageInputs, work: Work): Promise<PackageOutputs> {
  if (workshop.slots.activeCount >= workshop.slots.concurrency) work.progress("waiting for a build slot");
  return await workshop.slots(async () => {
    work.signal.throwIfAborted();
    const plan = await plannedFiles(workshop, inputs);
    await requireDependencies(workshop, inputs, work);
    const sources = await fetchSources(workshop, plan, inputs, work);
    const bench = await workshop.bench(work);
    const started = performance.now();
    const image = await solveImage(workshop, bench, plan, inputs, sources, work);
    const seconds = (performance.now() - started) / 1000;
    const outputs: PackageOutputs = {
      ...digestsOf(image, inputs.platforms),
      inputKey: keyOf(inputs),
      origin: "built",
    };
    await enter(workshop, bench, inputs, outputs, seconds);
    return outputs;
  });
}

/** The plan of these inputs, for the files behind their digests; throws where the tree is no longer what was planned with. */
async function plannedFiles(workshop: Workshop, inputs: PackageInputs): Promise<BuildPlan> {
  const tree = await workshop.tree();
  // Subpackages share their recipe, but each has the files of its own target.
  const plan = [...tree.images.values()].find(
    ({ recipe, target }) => recipe === inputs.recipe && target === (inputs.target ?? null),
  );
  if (!plan)
    throw new Error(
      `${inputs.image}: the tree has no ${inputs.recipe}${inputs.target ? ` with ${inputs.target}` : ""}`,
    );
  if (contextOfPlan(plan) !== inputs.context || digestFrom(plan.containerfile) !== inputs.containerfile) {
    throw new Error(
      `${inputs.image}: files of ${plan.folder} changed since they were planned with; run the command again`,
    );
  }
  return plan;
}

/** A dependency is passed on only whole: each is read again before anything is built from it. */
async function requireDependencies(workshop: Workshop, inputs: PackageInputs, work: Work): Promise<void> {
  const store = await workshop.store();
  for (const [name, reference] of Object.entries(inputs.dependencies)) {
    const damages = await store.inspect(reference, work.signal);
    if (damages.length === 0) continue;
    throw new Error(
      `${inputs.image}: its dependency ${name} (${reference}) is not whole in the store:\n` +
        `${damages.map(({ message }) => `  ${message}`).join("\n")}\n` +
        `Build it again with: pulumi up --refresh`,
    );
  }
}

async function fetchSources(
  workshop: Workshop,
  plan: BuildPlan,
  inputs: PackageInputs,
  work: Work,
): Promise<SourceFile[]> {
  const { root } = await workshop.tree();
  const cache = await workshop.sources();
  const archives = [join(root, "fetch", plan.stage, plan.origin)];
  const fetched: SourceFile[] = [];
  for (const [file, digest] of Object.entries(inputs.sources)) {
    const source = { name: file, file, sha256: hexOf(digest), mirrors: inputs.mirrors?.[file] ?? [] };
    const path = await cache.obtain(source, {
      archives,
      signal: work.signal,
      onProgress: (progress) => work.progress(sourceLine(file, progress)),
    });
    fetched.push({ file, path });
  }
  return fetched;
}

function sourceLine(file: string, progress: SourceProgress): string {
  if (progress.kind === "trying") return `fetching ${file} from ${progress.from}`;
  if (progress.kind === "failed") return `fetching ${file}: ${progress.from}: ${progress.reason}`;
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const total = progress.total === null ? "" : ` of ${mebibytes(progress.total)}`;
  return `fetching ${file}: ${mebibytes(progress.received)}${total} MiB`;
}

async function solveImage(
  workshop: Workshop,
  bench: Bench,
  plan: BuildPlan,
  inputs: PackageInputs,
  sources: SourceFile[],
  work: Work,
): Promise<Image> {
  const { scratch, logs } = workshop.places;
  const { root } = await workshop.tree();
  const store = await workshop.store();
  const files = {
    folder: join(root, plan.folder),
    files: plan.context,
    recipe: { path: join(root, plan.recipe), sha256: plan.containerfile },
    sources,
    scratch,
  };
  return await withBuildContext(files, async (context) => {
    const request = {
      endpoint: bench.endpoint,
      image: inputs.image,
      version: inputs.version,
      target: inputs.target ?? null,
      platforms: inputs.platforms,
      buildArgs: inputs.buildArgs,
      context,
      dependencies: inputs.dependencies,
      isAnew: !workshop.config.cache,
      store: store.root,
      destination: join(dirname(context.context), "layout"),
      scratch,
    };
    const { layout, layerCheck } = await solve(request, {
      signal: work.signal,
      onProgress: (event) => {
        if (isTelling(event)) work.progress(summarize(event));
      },
      log: join(logs, `${inputs.image}.log`),
    });
    work.progress("storing the image");
    return await store.adopt(layout, { layerCheck, signal: work.signal });
  });
}

/** Instructions as they begin, and the ends of those that took long; what BuildKit does around them is for the log. */
function isTelling({ step, status, seconds }: ProgressEvent): boolean {
  const isInstruction = /\d+\/\d+$/.test(step);
  return isInstruction && (status === "started" || status === "error" || seconds >= 5);
}

/** A digest other than the expected one is entered as evidence, which never makes the key known. */
async function enter(
  workshop: Workshop,
  bench: Bench,
  inputs: PackageInputs,
  outputs: PackageOutputs,
  seconds: number,
): Promise<void> {
  const mismatch = inputs.expectedDigest !== undefined && inputs.expectedDigest !== outputs.digest;
  const record: LedgerRecord = {
    inputKey: keyOf(inputs),
    image: inputs.image,
    digests: { index: outputs.index, platforms: outputs.digests },
    builder: { id: bench.id, facts: bench.facts },
    seconds,
    outcome: mismatch ? "mismatch" : "built",
    finished: new Date().toISOString(),
  };
  // First where nobody else writes: the ledger's word alone is never enough to sign.
  await workshop.built.record(record);
  await workshop.ledger.record(record);
  await workshop.journal.note({ image: inputs.image, digest: outputs.digest, origin: "built", seconds });
}
