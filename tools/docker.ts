import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";
import { parseVersion, type Version } from "./version.ts";

/** A builder of `docker buildx` with an address for buildctl. */
export type DockerBuilder = {
  /** The builder's name, as `docker buildx ls` shows it. */
  readonly name: string;
  /** For $BUILDKIT_HOST: `docker-container://buildx_buildkit_…`. */
  readonly address: string;
  /** Whether its container runs; `docker buildx inspect --bootstrap NAME` starts it. */
  readonly isRunning: boolean;
};

/** The found parts of Docker. */
export type Docker = {
  readonly client: Version | null;
  /** Null where no daemon answers. */
  readonly server: Version | null;
  /** Whether the daemon has containerd's image store, which keeps digests. */
  readonly usesContainerdStore: boolean;
  readonly buildx: Version | null;
  readonly builders: readonly DockerBuilder[];
};

/** The client prints this without a server where no daemon answers. */
const versionSchema = z.object({
  Client: z.object({ Version: z.string() }),
  Server: z.object({ Version: z.string() }).nullish(),
});
/** Pairs of a name and a value, such as `["driver-type", "io.containerd.snapshotter.v1"]`. */
const driverStatusSchema = z.array(z.array(z.string())).nullable();
const builderSchema = z.object({
  Name: z.string(),
  Driver: z.string().optional(),
  Nodes: z.array(z.object({ Name: z.string(), Status: z.string().optional() })).nullish(),
});

/** How long docker may take for an answer, in milliseconds: its daemon may be remote. */
const answerTimeout = 10_000;

/** Queries `docker`; returns null where PATH has none. Starts and changes nothing. */
export async function findDocker(environment: NodeJS.ProcessEnv = process.env): Promise<Docker | null> {
  const ask = (...args: string[]): Promise<string | null> => askDocker(args, environment);
  // Docker 20 (Debian 12) prints the word `json` itself for `--format json`.
  const version = await ask("version", "--format", "{{json .}}");
  if (version === null) return null;
  const { Client: client, Server: server } = versionSchema.parse(JSON.parse(version));
  const buildx = await ask("buildx", "version");
  const docker = {
    client: parseVersion(client.Version),
    server: server ? parseVersion(server.Version) : null,
    buildx: buildx === null ? null : parseVersion(buildx),
  };
  if (docker.server === null) return { ...docker, usesContainerdStore: false, builders: [] };
  const status = await ask("info", "--format", "{{json .DriverStatus}}");
  const builders = docker.buildx === null ? null : await ask("buildx", "ls", "--format", "json");
  return {
    ...docker,
    usesContainerdStore: status !== null && parseDriverStatus(status),
    builders: builders === null ? [] : parseBuilders(builders),
  };
}

function parseDriverStatus(text: string): boolean {
  const pairs = driverStatusSchema.parse(JSON.parse(text)) ?? [];
  return pairs.some(
    ([name, value]) => name === "driver-type" && value?.startsWith("io.containerd.snapshotter"),
  );
}

/**
 * Parses the builders in the output of `docker buildx ls --format json`, one JSON object a line:
 * those in containers of their own. The driver `docker` is BuildKit inside of the Docker daemon,
 * and has no address.
 */
export function parseBuilders(text: string): DockerBuilder[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines
    .map((line) => builderSchema.parse(JSON.parse(line)))
    .filter(({ Driver }) => Driver === "docker-container")
    .flatMap(({ Name, Nodes }) =>
      (Nodes ?? []).map((node) => ({
        name: Name,
        address: `docker-container://buildx_buildkit_${node.Name}`,
        isRunning: node.Status === "running",
      })),
    );
}

/**
 * Returns docker's output, or null where it fails. A client without its daemon prints its own
 * version, and fails.
 */
async function askDocker(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)("docker", [...args], {
      env: environment,
      timeout: answerTimeout,
    });
    return stdout;
  } catch (error) {
    const stdout = error instanceof Error && "stdout" in error ? String(error.stdout) : "";
    return stdout.trim() === "" || args[0] !== "version" ? null : stdout;
  }
}
