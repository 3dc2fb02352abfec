import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { pathsOf } from "../lib/paths.ts";
import type { Screen } from "../lib/text/terminal.ts";
import { findExecutable, isExecutable, queryVersion } from "./executable.ts";
import { buildGoBinaries } from "./go-build.ts";
import { goVersionOf } from "./go-build-info.ts";
import {
  type BuildMethod,
  type PinnedTool,
  pinnedGo,
  pinnedTools,
  type Shortcoming,
  type ToolName,
} from "./pinned-tools.ts";
import { ProgressLines } from "./progress-lines.ts";
import { SetUpError, type SetUpReason } from "./set-up-error.ts";
import { fillFolder, pinnedVersion, toolFolder, toolIn } from "./tool-folder.ts";
import { compareVersions, formatVersion, isWithin, parseVersion } from "./version.ts";

/** A tool that is ready to run. */
export type Tool = {
  readonly name: ToolName;
  /** Absolute. */
  readonly path: string;
  /** Such as `v0.34.2`; null for a language host on PATH, which prints none. */
  readonly version: string | null;
  /** On PATH, in the cache of Pulumi's npm launcher, or built by the set-up. */
  readonly origin: "PATH" | "launcher" | "built";
  readonly shortcoming: Shortcoming | null;
};

/** The progress of a build. */
export type ToolProgress = {
  readonly tool: ToolName;
  readonly version: string;
  /** `waiting`: another process builds the same. */
  readonly phase: "building" | "waiting";
  /** The present step; may be empty. */
  readonly detail: string;
};

/** Options of the search and the build of tools. */
export type ToolOptions = {
  /** Has PATH, PULUMI_HOME and the variables of the cache; process.env by default. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly onProgress?: (progress: ToolProgress) => void;
  readonly signal?: AbortSignal;
};

/** Finds an existing tool: on PATH in an accepted version, or built earlier. Builds nothing. */
export async function findTool(name: ToolName, options: ToolOptions = {}): Promise<Tool | null> {
  const environment = options.environment ?? process.env;
  const tool = pinnedTools[name];
  const installed = await findInstalled(tool, environment);
  if (installed !== null) return installed;
  for (const method of tool.buildMethods) {
    const built = await findBuilt(tool, method, environment);
    if (built !== null) return built;
  }
  return null;
}

/**
 * Finds a tool, or builds it from its pinned source into the user's cache. A tool is built again
 * where a better build method has become possible.
 *
 * @throws SetUpError that names the missing part and the fix
 */
export async function provideTool(name: ToolName, options: ToolOptions = {}): Promise<Tool> {
  const found = await findToolOrMethod(name, options.environment ?? process.env);
  return "method" in found ? buildTool(pinnedTools[name], found.method, options) : found.tool;
}

/**
 * Provides several tools, one after the other (each build uses every core), and shows the builds.
 * Shows nothing where nothing is missing.
 */
export async function provideTools(
  names: readonly ToolName[],
  options: Omit<ToolOptions, "onProgress"> & { readonly screen?: Screen } = {},
): Promise<ReadonlyMap<ToolName, Tool>> {
  const found = new Map<ToolName, Tool>();
  const missing: ToolName[] = [];
  for (const name of names) {
    const looked = await findToolOrMethod(name, options.environment ?? process.env);
    if ("method" in looked) missing.push(name);
    else found.set(name, looked.tool);
  }
  const display = new ProgressLines(missing.length, options.screen);
  for (const name of missing) {
    const label = `building ${name} ${await pinnedVersion(pinnedTools[name])}`;
    const built = await display.step(label, (note) =>
      provideTool(name, { ...options, onProgress: ({ detail }) => note(detail) }),
    );
    found.set(name, built);
  }
  return found;
}

/**
 * Lists the tools that a stack needs: the engine and its language host, BuildKit's client, and,
 * where `$BUILDKIT_HOST` names no daemon, a private daemon with its container runtime.
 */
export function stackTools(environment: NodeJS.ProcessEnv = process.env): ToolName[] {
  const engine: ToolName[] = ["pulumi", "pulumi-language-nodejs", "buildctl"];
  return environment.BUILDKIT_HOST ? engine : [...engine, "buildkitd", "runc"];
}

/**
 * The tools of the tests on real parts, also with a `$BUILDKIT_HOST`: they start daemons of their
 * own.
 */
export const testTools: readonly ToolName[] = [
  ...stackTools({}),
  "registry",
  "registry-client",
  "with-proxy",
];

/** Finds a usable tool, or else the best possible build method. */
async function findToolOrMethod(
  name: ToolName,
  environment: NodeJS.ProcessEnv,
): Promise<{ readonly tool: Tool } | { readonly method: BuildMethod }> {
  const pinned = pinnedTools[name];
  const installed = await findInstalled(pinned, environment);
  if (installed !== null) return { tool: installed };
  for (const method of pinned.buildMethods) {
    const tool = await findBuilt(pinned, method, environment);
    if (tool !== null) return { tool };
    if (await method.isPossible(environment)) return { method };
  }
  throw new Error(`${name} can't be built on this machine`);
}

async function findInstalled(tool: PinnedTool, environment: NodeJS.ProcessEnv): Promise<Tool | null> {
  if (tool.name === "pulumi" || tool.name === "pulumi-language-nodejs") {
    const engine = await findEngine(environment);
    return engine?.[tool.name] ?? null;
  }
  const path = await findExecutable(tool.name, environment);
  if (path === null || tool.versionArguments === null) return null;
  const version = await queryVersion(path, tool.versionArguments, environment);
  if (version === null || !isWithin(version, tool.accepted)) return null;
  // Another Go's gzip gives other layers, and so other digests.
  if (tool.name === "buildkitd" && !isSameGo(await goVersionOf(path))) return null;
  return { name: tool.name, path, version: `v${formatVersion(version)}`, origin: "PATH", shortcoming: null };
}

/** Whether a Go gives the same bytes as the pinned one: any patch of the same minor version. */
export function isSameGo(found: string | null): boolean {
  const [version, pinned] = [parseVersion(found ?? ""), parseVersion(pinnedGo)];
  return version !== null && pinned !== null && version[0] === pinned[0] && version[1] === pinned[1];
}

type Engine = { readonly pulumi: Tool; readonly "pulumi-language-nodejs": Tool };

/** Finds an engine with its language host: neither runs without the other. */
async function findEngine(environment: NodeJS.ProcessEnv): Promise<Engine | null> {
  const path = await findExecutable("pulumi", environment);
  if (path !== null) {
    const engine = await engineAt(path, environment);
    if (engine !== null) return engine;
  }
  return findLaunchedEngine(environment);
}

async function engineAt(path: string, environment: NodeJS.ProcessEnv): Promise<Engine | null> {
  const { accepted, versionArguments } = pinnedTools.pulumi;
  const version = await queryVersion(path, versionArguments ?? [], environment);
  if (version === null || !isWithin(version, accepted)) return null;
  const beside = join(dirname(path), "pulumi-language-nodejs");
  // As the engine itself does: PATH goes before its own folder.
  const onPath = await findExecutable("pulumi-language-nodejs", environment);
  const host = onPath ?? ((await isExecutable(beside)) ? beside : null);
  if (host === null) return null;
  return {
    pulumi: {
      name: "pulumi",
      path,
      version: `v${formatVersion(version)}`,
      origin: "PATH",
      shortcoming: null,
    },
    "pulumi-language-nodejs": {
      name: "pulumi-language-nodejs",
      path: host,
      version: null,
      origin: "PATH",
      shortcoming: null,
    },
  };
}

/**
 * Finds the newest accepted engine of Pulumi's npm launcher in
 * `$PULUMI_HOME/versions/<version>/bin`.
 */
async function findLaunchedEngine(environment: NodeJS.ProcessEnv): Promise<Engine | null> {
  const home = environment.PULUMI_HOME || join(environment.HOME || homedir(), ".pulumi");
  const folders = await readdir(join(home, "versions")).catch(() => []);
  const versions = folders
    .flatMap((folder) => {
      const version = parseVersion(folder);
      return version !== null && isWithin(version, pinnedTools.pulumi.accepted) ? [{ folder, version }] : [];
    })
    .sort((a, b) => compareVersions(b.version, a.version));
  for (const { folder, version } of versions) {
    const bin = join(home, "versions", folder, "bin");
    const [pulumi, host] = [join(bin, "pulumi"), join(bin, "pulumi-language-nodejs")];
    if (!(await isExecutable(pulumi)) || !(await isExecutable(host))) continue;
    const common = { version: `v${formatVersion(version)}`, origin: "launcher", shortcoming: null } as const;
    return {
      pulumi: { name: "pulumi", path: pulumi, ...common },
      "pulumi-language-nodejs": { name: "pulumi-language-nodejs", path: host, ...common },
    };
  }
  return null;
}

async function findBuilt(
  tool: PinnedTool,
  method: BuildMethod,
  environment: NodeJS.ProcessEnv,
): Promise<Tool | null> {
  const folder = await toolFolder(pathsOf(undefined, environment).tools, tool, method);
  const path = await toolIn(folder, tool);
  if (path === null) return null;
  return {
    name: tool.name,
    path,
    version: await pinnedVersion(tool),
    origin: "built",
    shortcoming: method.shortcoming,
  };
}

async function buildTool(tool: PinnedTool, method: BuildMethod, options: ToolOptions): Promise<Tool> {
  const environment = options.environment ?? process.env;
  const version = await pinnedVersion(tool);
  const what = `${tool.name} ${version}`;
  if (!tool.systems.includes(process.platform)) {
    throw new SetUpError(
      what,
      "not-for-this-system",
      `it runs on ${tool.systems.join(", ")} only, and this is ${process.platform}`,
      "export BUILDKIT_HOST=docker-container://NAME (a Docker builder: docker buildx create --name NAME --bootstrap), or tcp://HOST:1234",
    );
  }
  const report = (phase: ToolProgress["phase"], detail: string) =>
    options.onProgress?.({ tool: tool.name, version, phase, detail });
  const folder = await toolFolder(pathsOf(undefined, environment).tools, tool, method);
  await fillCache(what, () =>
    fillFolder(
      folder,
      async () => (await toolIn(folder, tool)) !== null,
      async (temporary, signal) => {
        report("building", "");
        const onDetail = (detail: string) => report("building", detail);
        await buildGoBinaries(method.binaries, temporary, { what, version, environment, onDetail, signal });
      },
      {
        onWait: () => report("waiting", "another process builds it, waiting for that"),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
    ),
  );
  const built = await findBuilt(tool, method, environment);
  if (built === null) throw new Error(`${what} was built, but ${folder} does not contain it`);
  return built;
}

/** Errors of the file system, with their meaning. */
const fileErrors: Readonly<Record<string, { reason: SetUpReason; why: string }>> = {
  ENOSPC: { reason: "disk-full", why: "the disk is full" },
  EDQUOT: { reason: "disk-full", why: "this user's share of the disk is full" },
  EACCES: { reason: "no-cache", why: "this user may not write there" },
  EPERM: { reason: "no-cache", why: "this user may not write there" },
  EROFS: { reason: "no-cache", why: "the disk is read-only" },
  ENOTDIR: { reason: "no-cache", why: "a file has the name of a folder" },
};

async function fillCache(what: string, fill: () => Promise<void>): Promise<void> {
  try {
    await fill();
  } catch (error) {
    const known = error instanceof Error && "code" in error ? fileErrors[String(error.code)] : undefined;
    if (known === undefined || !(error instanceof Error)) throw error;
    throw new SetUpError(
      what,
      known.reason,
      `${known.why} (${error.message})`,
      "move the cache to a disk with room for it (1 GB): export STAGEX_CACHE=/path",
    );
  }
}
