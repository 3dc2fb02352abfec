import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import type { CommonBuildOptions } from "../../distro/build-plan.ts";
import { logCommand } from "../../lib/debug-log.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { printableOutput } from "../../lib/text/printable.ts";
import type { Digest } from "../../oci/digest.ts";
import { BuildLog } from "./build-log.ts";
import { prepareBuildEnvironment } from "./client-environment.ts";
import type { BuildContext } from "./context-folder.ts";
import { type DependencyLayout, linkDependencies } from "./dependency-layout.ts";
import { connectionArguments, type Endpoint } from "./endpoint.ts";
import { watchExportActivity } from "./export-activity.ts";
import { removeFromHistory } from "./image-history.ts";
import { diagnoseInfrastructure } from "./infrastructure-failure.ts";
import { type LayerCheck, layerTimestampCheck } from "./layer-timestamps.ts";
import { type ProgressEvent, ProgressReader } from "./progress.ts";
import { prunePartialBlobs } from "./prune-partial-blobs.ts";
import { lastError, SolveError } from "./solve-error.ts";
import { historyTrace, proxyArguments, type StepProxy, stripProxyCommand } from "./step-proxy.ts";
import type { TransferRoute } from "./transfer-route.ts";
import type { Transfer, TransferStats } from "./transfer-stats.ts";

/** One image to build. */
export type SolveRequest = {
  readonly endpoint: Endpoint;
  /** The image's name, such as `core-busybox`, and its version, for its annotations. */
  readonly image: string;
  readonly version: string;
  /** The options of every build of its generation. */
  readonly assembly: CommonBuildOptions;
  readonly target: string | null;
  readonly platforms: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly context: BuildContext;
  /**
   * Image name (as after `stagex/`) -> digest of its manifest or, for several platforms, of its
   * index.
   */
  readonly dependencies: Readonly<Record<string, Digest>>;
  /**
   * Dependency's name -> the repository, such as `registry.example/stagex/core-musl`, from which
   * the daemon pulls it by its digest. The daemon has no credentials of ours, and hashes the bytes.
   * The other dependencies are sent from the store. These are too, where a build that pulls them
   * fails for another reason than a program of its own.
   */
  readonly repositories?: Readonly<Record<string, string>>;
  /**
   * The proxy for steps that fetch, for which the recipe of `context` was rewritten; undefined
   * where there is none.
   */
  readonly proxy?: StepProxy;
  /** Ignores the daemon's cache: what is to be attested is really built. */
  readonly noCache?: boolean;
  /** The content-addressed store with the dependencies' blobs, `blobs/sha256/<hex>`. */
  readonly store: string;
  /**
   * The folder to make, with the image as an OCI layout. It must not exist, and does not after an
   * error.
   */
  readonly destination: string;
  /** The folder for temporary folders. */
  readonly scratch: string;
};

export type SolveOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: ProgressEvent) => void;
  /** Called with every line that buildctl writes, and while the image arrives. */
  readonly onActivity?: () => void;
  /** The file for the whole log; an older one is overwritten. */
  readonly log: string;
};

/** The built image, not yet verified. */
export type SolveResult = {
  /** The folder with index.json, oci-layout and blobs/sha256/. */
  readonly layout: string;
  /**
   * Returns the check that a layer has yet to pass; undefined for layers of dependencies, which
   * passed it in their own build.
   */
  readonly layerCheck: (layer: Digest) => LayerCheck | undefined;
  /** The transfers of dependencies that the daemon lacked, by either route. */
  readonly transfers: Readonly<Record<TransferRoute, Transfer>>;
  /**
   * The steps' peak of memory, in bytes; undefined where the builder does not measure it, or all
   * was cached.
   */
  readonly memory: number | undefined;
  /**
   * The failure of a build that pulled dependencies, after which all were sent; undefined where
   * there was none.
   */
  readonly unpulled: SolveError | undefined;
};

/**
 * Builds one image with the options of StageX's own generator, without network in any RUN and
 * without other sources than those of the request.
 * @throws SolveError where the build fails, and the signal's reason where it was aborted; the
 * daemon's solve has ended then
 */
export async function solve(request: SolveRequest, options: SolveOptions): Promise<SolveResult> {
  options.signal?.throwIfAborted();
  await mkdir(dirname(request.destination), { recursive: true });
  return await withTempDir(request.scratch, async (folder) => {
    const dependencies = linkDependencies(request.store, request.dependencies, join(folder, "dependencies"));
    const sent = { ...request, repositories: {} };
    if (pulled(request).length === 0) return await attempt(sent, dependencies, folder, options);
    try {
      return await attempt(request, dependencies, folder, options);
    } catch (error) {
      // A registry fails with too many messages to recognise them. But a program that ran had its
      // dependencies.
      if (!(error instanceof SolveError) || error.exitCode !== undefined || error.isOutOfMemory) throw error;
      await prunePartialBlobs(request.endpoint, options.signal);
      return { ...(await attempt(sent, dependencies, folder, options)), unpulled: error };
    }
  });
}

/** Builds the image, or leaves nothing at the destination. */
async function attempt(
  request: SolveRequest,
  dependencies: DependencyLayout,
  folder: string,
  options: SolveOptions,
): Promise<SolveResult> {
  const policy = join(folder, "source-policy.json");
  writeFileSync(policy, JSON.stringify(sourcePolicy(request)));
  mkdirSync(request.destination);
  try {
    const args = [...buildArguments(request, dependencies), "--source-policy-file", policy];
    const { transfers, memory } = await build(request, args, folder, options);
    // A working folder of buildctl, not part of a layout.
    rmSync(join(request.destination, "ingest"), { recursive: true, force: true });
    if (request.proxy) await removeFromHistory(request.destination, historyTrace);
    const known = new Set([...dependencies.layers.values()].flatMap((layers) => [...layers]));
    const { repositories = {} } = request;
    const arrived = (isPulled: boolean) =>
      transfers.totalOf(
        new Map([...dependencies.layers].filter(([name]) => name in repositories === isPulled)),
      );
    return {
      layout: request.destination,
      layerCheck: (layer) => (known.has(layer) ? undefined : layerTimestampCheck(layer)),
      transfers: { store: arrived(false), registry: arrived(true) },
      memory,
      unpulled: undefined,
    };
  } catch (error) {
    await rm(request.destination, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Returns a policy that allows the sources of the request only: no image but exactly the
 * dependencies, no URL, no git repository, and no frontend of a `# syntax=` line.
 */
function sourcePolicy(request: SolveRequest): object {
  const allow = (identifier: string, match_type: "WILDCARD" | "EXACT") => ({
    ...{ action: "ALLOW", selector: { identifier, match_type } },
  });
  return {
    version: 1,
    rules: [
      { action: "DENY", selector: { identifier: "*" } },
      allow("local://*", "WILDCARD"),
      allow("oci-layout://*", "WILDCARD"),
      ...pulled(request).map((reference) => allow(`docker-image://${reference}`, "EXACT")),
    ],
  };
}

/** Returns the references of the dependencies that the daemon pulls. */
function pulled({ dependencies, repositories = {} }: SolveRequest): string[] {
  return Object.entries(dependencies).flatMap(([name, digest]) => {
    const repository = repositories[name];
    return repository === undefined ? [] : [`${repository}@${digest}`];
  });
}

/** The name of the dependencies' layout in one solve. */
const layoutName = "dependencies";

/** Returns buildctl's arguments for this image, without those of the connection. */
export function buildArguments(request: SolveRequest, dependencies: DependencyLayout): string[] {
  const { context, repositories = {} } = request;
  const isSent = pulled(request).length < Object.keys(request.dependencies).length;
  const placeOf = (name: string, digest: Digest) =>
    repositories[name] === undefined
      ? `oci-layout:${layoutName}@${digest}`
      : `docker-image://${repositories[name]}@${digest}`;
  const options = {
    filename: "Containerfile",
    platform: request.platforms.join(","),
    ...(request.target === null ? {} : { target: request.target }),
    ...request.assembly.options,
    "force-network-mode": "none",
    ...prefixed("build-arg:", { ...request.buildArgs, ...request.assembly.buildArgs }),
    // The reader of recipes refuses cache mounts. One that only BuildKit recognises finds an empty
    // cache: the daemon names caches by this value, which no other solve has.
    "build-arg:BUILDKIT_CACHE_MOUNT_NS": randomUUID(),
    "context:fetch": "local:fetch",
    ...prefixed("context:stagex/", mapEntries(request.dependencies, placeOf)),
  };
  return [
    ...["build", "--frontend", "dockerfile.v0", "--progress", "rawjson"],
    ...["--local", `context=${context.context}`, "--local", `dockerfile=${context.recipe}`],
    ...["--local", `fetch=${context.fetch}`],
    ...(isSent ? ["--oci-layout", `${layoutName}=${dependencies.folder}`] : []),
    ...Object.entries(options).flatMap(([name, value]) => ["--opt", `${name}=${value}`]),
    ...(request.proxy ? proxyArguments(request.proxy) : []),
    ...(request.noCache ? ["--no-cache"] : []),
    ...["--output", csv({ ...outputOf(request), dest: request.destination })],
  ];
}

function outputOf({ image, version, assembly }: SolveRequest): Record<string, string> {
  return {
    type: "oci",
    tar: "false",
    name: `stagex/${image}:${version}`,
    ...assembly.output,
    ...prefixed("annotation.", assembly.annotations(image, version)),
  };
}

/** Formats a record of comma-separated values (RFC 4180), as buildctl reads `--output`. */
function csv(fields: Record<string, string>): string {
  const quoted = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return Object.entries(fields)
    .map(([name, value]) => quoted(`${name}=${value}`))
    .join(",");
}

function prefixed(prefix: string, record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));
}

function mapEntries<V>(
  record: Readonly<Record<string, V>>,
  map: (name: string, value: V) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(name, value)]));
}

/** The time for buildctl to end its solve in the daemon before it is killed, in milliseconds. */
const killDelay = 10_000;

/** Runs buildctl, and returns the transfers to the daemon and the peak of memory. */
async function build(
  request: SolveRequest,
  args: string[],
  folder: string,
  options: SolveOptions,
): Promise<{ readonly transfers: TransferStats; readonly memory: number | undefined }> {
  const { endpoint, image, destination, proxy } = request;
  const { signal, onProgress = () => {}, onActivity = () => {} } = options;
  const env = await prepareBuildEnvironment(endpoint, folder);
  const log = await BuildLog.open(options.log);
  const progress = new ProgressReader(
    onProgress,
    (line) => log.line(printableOutput(line)),
    proxy && ((text) => stripProxyCommand(text, proxy)),
  );
  const command = [...connectionArguments(endpoint), ...args];
  logCommand(endpoint.buildctl, command);
  const client = spawn(endpoint.buildctl, command, {
    stdio: ["ignore", "ignore", "pipe"],
    env,
  });
  let killer: NodeJS.Timeout | undefined;
  const end = () => {
    client.kill("SIGTERM");
    killer ??= setTimeout(() => client.kill("SIGKILL"), killDelay);
  };
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  const stopWatching = watchExportActivity(destination, onActivity);
  try {
    const closed = once(client, "close");
    const read = readLines(client.stderr, progress, log, onActivity).catch(async (error: unknown) => {
      end();
      await closed;
      throw error;
    });
    const [[code]] = await Promise.all([closed, read]);
    signal?.throwIfAborted();
    if (code === 0) return { transfers: progress.transfers, memory: progress.peakMemory() };
    const [failed, { messages }] = [progress.failedStep(), progress];
    const failure = diagnoseInfrastructure(endpoint, failed, lastError(messages), destination);
    throw new SolveError(image, failed, messages, options.log, failure);
  } finally {
    signal?.removeEventListener("abort", end);
    clearTimeout(killer);
    stopWatching();
    log.close();
  }
}

/** Feeds the lines to the reader, and logs lines that came together at once. */
async function readLines(
  stderr: Readable,
  progress: ProgressReader,
  log: BuildLog,
  onActivity: () => void,
): Promise<void> {
  let begun = "";
  for await (const text of stderr.setEncoding("utf8") as AsyncIterable<string>) {
    onActivity();
    const lines = text.split("\n");
    const rest = lines.pop() ?? "";
    for (const line of lines) {
      progress.readLine(`${begun}${line}`.replace(/\r$/, ""));
      begun = "";
    }
    begun += rest;
    log.flush();
  }
  if (begun !== "") progress.readLine(begun);
  progress.end();
  log.flush();
}
