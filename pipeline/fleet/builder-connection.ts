import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { type BuilderFacts, inspectBuilder, type VendorSource } from "../../buildkit/client/builder-facts.ts";
import { type DaemonInfo, queryDaemon } from "../../buildkit/client/daemon-query.ts";
import { type Endpoint, parseEndpoint } from "../../buildkit/client/endpoint.ts";
import { waitForDaemon } from "../../buildkit/client/wait-for-daemon.ts";
import { acquireDaemon, type DaemonUse } from "../../buildkit/daemon/daemon.ts";
import type { BuilderInputs } from "../../config/builder-inputs.ts";
import { openTempDir } from "../../lib/fs/temp-dir.ts";
import type { Paths } from "../../lib/paths.ts";
import { goVersionOf } from "../../tools/go-build-info.ts";
import { findTool } from "../../tools/tool-resolver.ts";
import type { Operation } from "../operation.ts";

/** A BuildKit daemon to build with, and the facts about it. */
export type BuilderConnection = {
  readonly name: string;
  readonly endpoint: Endpoint;
  /** Names the builder in the ledger. It stays the same for a machine and its daemon. */
  readonly id: string;
  readonly facts: BuilderFacts;
  /** Its own first. */
  readonly platforms: readonly string[];
  readonly vendorSource: VendorSource;
  /**
   * The CPU vendor that its kernel reports, whatever was declared; undefined where it reports none.
   */
  readonly detectedVendor: string | undefined;
  /**
   * Starts the daemon again if it is a private one, and waits for its answer.
   * @throws Error where there is none
   */
  revive(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
};

/** In seconds: the default time to wait for an answer. */
const defaultWait = 60;

/**
 * Opens a builder: starts a private one, waits until it answers, and reads the facts about it.
 * @throws Error with a hint, where a tool is missing or the daemon does not answer
 */
export async function connectToBuilder(
  builder: BuilderInputs,
  paths: Paths,
  operation: Operation,
): Promise<BuilderConnection> {
  const open = await openEndpoint(builder, paths, operation);
  const { endpoint } = open;
  try {
    if (open.daemon === undefined) {
      await waitForDaemon(endpoint, {
        seconds: builder.wait ?? defaultWait,
        onWaiting: (why, seconds) =>
          operation.progress(`waiting for ${builder.name} for ${seconds} s: ${why}`),
        signal: operation.signal,
      });
    }
    const known = await inspectBuilder(endpoint, {
      go: open.go,
      scratch: paths.scratch,
      signal: operation.signal,
    });
    const shownVendor = known.vendorSource === "unknown" ? undefined : known.facts.cpuVendor;
    const vendorSource: VendorSource = builder.vendor === undefined ? known.vendorSource : "declared";
    const cpuVendor = builder.vendor ?? known.facts.cpuVendor;
    const facts = { ...known.facts, cpuVendor, ...(vendorSource === "cpuinfo" ? {} : { vendorSource }) };
    return {
      ...{ name: builder.name, endpoint, facts, vendorSource, detectedVendor: shownVendor },
      ...{ id: builderId(endpoint, facts), platforms: builder.platforms ?? known.platforms },
      revive: open.revive,
      close: open.close,
    };
  } catch (error) {
    await open.close();
    throw error;
  }
}

/**
 * Asks a builder about itself and closes it again. Returns undefined for a private one, which is
 * started when it is needed.
 */
export async function queryBuilder(
  builder: BuilderInputs,
  paths: Paths,
  signal: AbortSignal,
): Promise<DaemonInfo | undefined> {
  if (builder.address.startsWith("private:")) return undefined;
  const open = await openAddress(builder, paths, signal);
  try {
    return await queryDaemon(open.endpoint, signal);
  } finally {
    await open.close();
  }
}

/** An open connection to a daemon of which no facts are known. */
type OpenEndpoint = Pick<BuilderConnection, "endpoint" | "revive" | "close"> & {
  readonly daemon?: DaemonUse;
  readonly go?: string | undefined;
};

async function openEndpoint(
  builder: BuilderInputs,
  paths: Paths,
  operation: Operation,
): Promise<OpenEndpoint> {
  const number = /^private:(\d+)$/.exec(builder.address)?.[1];
  return number === undefined
    ? await openAddress(builder, paths, operation.signal)
    : await openPrivate(Number(number), paths, operation);
}

/**
 * Opens an address. Credentials are in files of this user alone as long as buildctl may read them.
 * On cancellation they are removed at once, before all else: the engine kills a provider that takes
 * its time.
 * @param cancelled ends all that the provider does
 */
async function openAddress(
  { address, tls }: BuilderInputs,
  paths: Paths,
  cancelled: AbortSignal,
): Promise<OpenEndpoint> {
  const buildctl = await toolPath("buildctl");
  const folder = tls && (await openTempDir(paths.scratch));
  const removeCredentials = (): void => folder && rmSync(folder.path, { recursive: true, force: true });
  cancelled.addEventListener("abort", removeCredentials, { once: true });
  const close = async () => {
    cancelled.removeEventListener("abort", removeCredentials);
    await folder?.remove();
  };
  try {
    const files = tls && folder ? await writeCredentials(tls, folder.path) : undefined;
    const endpoint = parseEndpoint({ address, buildctl, ...(files ? { tls: files } : {}) });
    return { endpoint, close, revive: async (signal) => void (await queryDaemon(endpoint, signal)) };
  } catch (error) {
    await close();
    throw error;
  }
}

async function writeCredentials(
  { ca, certificate, key, serverName }: NonNullable<BuilderInputs["tls"]>,
  folder: string,
): Promise<NonNullable<Endpoint["tls"]>> {
  const files = { ca: join(folder, "ca.pem"), cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  await writeFile(files.ca, ca, { mode: 0o600 });
  await writeFile(files.cert, certificate, { mode: 0o600 });
  await writeFile(files.key, key, { mode: 0o600 });
  return { ...files, ...(serverName === undefined ? {} : { serverName }) };
}

/** Starts a private daemon of this state folder. Number 0 is that of a run without a fleet. */
async function openPrivate(number: number, paths: Paths, operation: Operation): Promise<OpenEndpoint> {
  const buildctl = await toolPath("buildctl");
  const [buildkitd, runc] = [await toolPath("buildkitd"), await toolPath("runc")];
  const root = number === 0 ? paths.buildkit : `${paths.buildkit}-${number}`;
  const uses: DaemonUse[] = [];
  const acquire = async (signal: AbortSignal): Promise<DaemonUse> => {
    const use = await acquireDaemon({ buildkitd, runc, root, log: operation.progress, signal });
    uses.push(use);
    return use;
  };
  const daemon = await acquire(operation.signal);
  const close = async () => {
    for (const use of uses) await use.release();
  };
  try {
    return {
      ...{ daemon, close, go: (await goVersionOf(buildkitd)) ?? undefined },
      endpoint: parseEndpoint({ address: daemon.address, buildctl }),
      revive: async (signal) => void (await acquire(signal)),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function toolPath(name: "buildctl" | "buildkitd" | "runc"): Promise<string> {
  const tool = await findTool(name);
  if (tool) return tool.path;
  throw new Error(
    `${name} is neither on PATH nor built yet; build it with: npm start, or give a BuildKit of yours: export BUILDKIT_HOST=…`,
  );
}

function builderId(endpoint: Endpoint, { arch, cpuVendor }: BuilderFacts): string {
  // The address of a tunnel or a socket is unique on this machine only.
  const machine = createHash("sha256").update(`${hostname()}\n${endpoint.address}`).digest("hex").slice(0, 8);
  return `${arch}-${cpuVendor}-${machine}`.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
}
