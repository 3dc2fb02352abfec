import { join } from "node:path";
import pLimit from "p-limit";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { contextOfPlan } from "../../distro/plan/image-inputs.ts";
import type { Tree } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { printableLine } from "../../lib/text/printable.ts";
import { digestFromHex, hexOf } from "../../oci/digest.ts";
import type { Store } from "../../oci/store/store.ts";
import type { SourceProgress } from "../../sources/download/source-error.ts";
import type { Context } from "../context/context.ts";
import type { Dependency } from "../fleet/fleet-registry.ts";
import type { Operation } from "../operation.ts";
import type { PackageInputs } from "./inputs.ts";

/** A source in the cache, its hash verified. */
export type SourceFile = { readonly file: string; readonly path: string };

/**
 * Returns the plan of these inputs, which names the files behind their digests.
 * @throws Error where no build of it can succeed, or the tree has changed since the inputs were
 *   read from it
 */
export async function requirePlan(
  { images }: Pick<Tree, "images">,
  inputs: PackageInputs,
): Promise<BuildPlan> {
  // Subpackages share their recipe, but each has the files of its own target.
  const plan = [...images.values()].find(
    ({ recipe, target }) => recipe === inputs.recipe && target === (inputs.target ?? null),
  );
  if (!plan)
    throw new Error(
      `${inputs.image}: the tree has no ${inputs.recipe}${inputs.target ? ` with ${inputs.target}` : ""}`,
    );
  if (plan.refusals.length > 0) throw new TreeError(plan.refusals);
  if (contextOfPlan(plan) !== inputs.context || digestFromHex(plan.containerfile) !== inputs.containerfile) {
    throw new Error(
      `${inputs.image}: files of ${plan.folder} changed since they were planned with; run the command again`,
    );
  }
  return plan;
}

/**
 * Requires that the store has each dependency whole: all of its blobs are read again.
 * @throws Error with the damages of the first that is not
 */
export async function requireDependencies(
  store: Store,
  { image, dependencies }: PackageInputs,
  { signal }: Pick<Operation, "signal">,
): Promise<void> {
  for (const [name, reference] of Object.entries(dependencies)) {
    const damages = await store.inspect(reference, signal);
    if (damages.length === 0) continue;
    throw new Error(
      `${image}: its dependency ${name} (${reference}) is not whole in the store:\n` +
        `${damages.map(({ message }) => `  ${message}`).join("\n")}\n` +
        `Build it again with: pulumi up --refresh`,
    );
  }
}

/**
 * Returns the dependencies with the bytes that a builder without any of them must be sent for these
 * platforms.
 */
export async function measureDependencies(
  store: Store,
  { dependencies }: PackageInputs,
  platforms: readonly string[],
): Promise<Dependency[]> {
  return await Promise.all(
    Object.entries(dependencies).map(async ([name, digest]) => {
      const { manifests } = (await store.find(digest)) ?? (await store.readImage(digest));
      const own = manifests.filter(({ platform }) => platforms.includes(platform));
      const layers = (own.length > 0 ? own : manifests).flatMap((manifest) => manifest.layers);
      const sizes = new Map(layers.map((layer) => [layer.digest, layer.size]));
      return { name, digest, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
    }),
  );
}

/** Sources of one image that are fetched at once. */
const sourcesAtOnce = 8;

/**
 * Fetches the sources of an image into the cache, several at once, and verifies each.
 * @throws Error that names every source that could not be fetched: the others stay in the cache for
 *   the next run
 */
export async function fetchSources(
  context: Context,
  plan: BuildPlan,
  inputs: PackageInputs,
  operation: Operation,
): Promise<SourceFile[]> {
  const { root } = await context.tree();
  const cache = await context.sources(operation);
  const archives = [join(root, "fetch", plan.stage, plan.origin)];
  const limit = pLimit(sourcesAtOnce);
  const fetching = Object.entries(inputs.sources).map(([file, digest]) =>
    limit(async () => {
      operation.signal.throwIfAborted();
      const planned = plan.sources.find((source) => source.file === file);
      const mirrors = inputs.mirrors?.[file] ?? planned?.mirrors ?? [];
      const source = { name: file, file, sha256: hexOf(digest), mirrors };
      const path = await cache.obtain(source, {
        archives,
        signal: operation.signal,
        onProgress: (progress) => reportProgress(operation, file, progress),
      });
      return { file, path };
    }),
  );
  const settled = await Promise.allSettled(fetching);
  operation.signal.throwIfAborted();
  const errors = settled.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new Error(errors.map((error) => (error as Error).message).join("\n"));
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

/**
 * Shows progress beside the resource. A failing place of the vault and Software Heritage's help are
 * kept as messages.
 */
function reportProgress(
  operation: Pick<Operation, "progress" | "report">,
  file: string,
  progress: SourceProgress,
): void {
  const line = progressLine(file, progress);
  operation.progress(line);
  if (progress.kind === "failed" && progress.isNews) operation.report("warning", printableLine(line));
  if (progress.kind === "last-resort") operation.report("info", printableLine(line));
}

function progressLine(file: string, progress: SourceProgress): string {
  if (progress.kind === "last-resort") {
    return progress.phase === "asked"
      ? `no mirror gave ${file}: asking Software Heritage, the last resort (${progress.from})`
      : `${file} came from Software Heritage`;
  }
  if (progress.kind === "trying") return `fetching ${file} from ${progress.from}`;
  if (progress.kind === "failed") return `fetching ${file}: ${progress.from}: ${progress.reason}`;
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const total = progress.total === null ? "" : ` of ${mebibytes(progress.total)}`;
  return `fetching ${file}: ${mebibytes(progress.received)}${total} MiB`;
}
