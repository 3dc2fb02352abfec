import { join } from "node:path";
import { withBuildContext } from "../../buildkit/client/context-folder.ts";
import type { ProgressEvent } from "../../buildkit/client/progress.ts";
import { RunningStep } from "../../buildkit/client/running-step.ts";
import { type SolveResult, solve } from "../../buildkit/client/solve.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { findGenerator } from "../../distro/generator/known-generators.ts";
import type { Context } from "../context/context.ts";
import type { BuilderConnection } from "../fleet/builder-connection.ts";
import type { Dependency } from "../fleet/fleet-registry.ts";
import type { Operation } from "../operation.ts";
import type { SourceFile } from "./build-inputs.ts";
import type { PackageInputs } from "./inputs.ts";
import type { NetworkAccess } from "./network-access.ts";

/** The files and images of a build. */
export type BuildMaterials = {
  readonly plan: BuildPlan;
  readonly sources: readonly SourceFile[];
  readonly dependencies: readonly Dependency[];
};

/** The platforms of an image that one builder builds at once. */
export type BuildPart = {
  readonly platforms: readonly string[];
  /** The CPU vendor, or the builder's name, that it is to be built on; any where undefined. */
  readonly target: string | undefined;
  /** The names of the builders to choose from; all where undefined. */
  readonly builders: readonly string[] | undefined;
  /** The folder that gets the image. */
  readonly layout: string;
  readonly network: NetworkAccess | undefined;
};

/**
 * Solves one part of an image on a builder.
 * @param heartbeat called with every sign of life of the builder
 */
export async function solveImage(
  context: Context,
  builder: BuilderConnection,
  inputs: PackageInputs,
  { plan, sources, dependencies }: BuildMaterials,
  part: BuildPart,
  operation: Operation,
  heartbeat: () => void,
): Promise<SolveResult> {
  const { scratch, logs } = context.paths;
  const { platforms, network } = part;
  const { root } = await context.tree();
  const store = await context.store();
  const files = {
    folder: join(root, plan.folder),
    files: plan.context,
    recipe: { path: join(root, plan.recipe), sha256: plan.containerfile },
    sources: [...sources],
    ...(network ? { rewrite: network.rewrite } : {}),
    scratch,
  };
  const fleetRegistry = await context.fleetRegistry();
  const repositories = (await fleetRegistry?.repositoriesFor(builder, dependencies, operation)) ?? {};
  return await withBuildContext(files, async (buildContext) => {
    const request = {
      endpoint: builder.endpoint,
      image: inputs.image,
      version: inputs.version,
      assembly: findGenerator(inputs.generator).commonOptions,
      target: inputs.target ?? null,
      platforms,
      buildArgs: inputs.buildArgs,
      context: buildContext,
      dependencies: inputs.dependencies,
      repositories,
      ...(network ? { proxy: await network.session.proxyFor(platforms[0] ?? "") } : {}),
      noCache: !context.config.cache || (await context.isRebuilt(inputs.image)),
      store: store.root,
      destination: part.layout,
      scratch,
    };
    const step = new RunningStep();
    const options = {
      signal: operation.signal,
      onProgress: (event: ProgressEvent) => {
        const line = step.take(event);
        if (line !== undefined) operation.progress(line);
      },
      onActivity: heartbeat,
      log: join(logs, logName(inputs, part)),
    };
    const solved = await (network?.session.guard(() => solve(request, options)) ?? solve(request, options));
    fleetRegistry?.noteTransfers(builder, inputs.image, dependencies, solved, operation);
    return solved;
  });
}

function logName(inputs: PackageInputs, { platforms, target }: BuildPart): string {
  const isWhole = platforms.length === inputs.platforms.length;
  const words = [inputs.image, ...(target ? [target] : []), ...(isWhole ? [] : platforms)];
  return `${words.join("-").replaceAll("/", "-")}.log`;
}
