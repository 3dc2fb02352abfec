import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { type BuilderFacts, builderFacts } from "../../buildkit/builder-facts.ts";
import { acquireDaemon } from "../../buildkit/daemon.ts";
import { type Endpoint, parseEndpoint } from "../../buildkit/endpoint.ts";
import { goVersionOf } from "../../tools/go-build-info.ts";
import type { Places } from "../../tools/places.ts";
import { findTool } from "../../tools/toolbox.ts";
import type { Work } from "./handler.ts";

/** A BuildKit daemon to build with, and what is known of it. */
export type Bench = {
  readonly endpoint: Endpoint;
  /** Names the builder in the ledger; the same machine and daemon have the same one every time. */
  readonly id: string;
  readonly facts: BuilderFacts;
  close(): Promise<void>;
};

/**
 * The daemon at the configured address, else at `$BUILDKIT_HOST`, else a private one, started if none runs.
 * Throws where a tool is missing or the daemon does not answer, with what mends it.
 */
export async function openBench(configured: string | undefined, places: Places, work: Work): Promise<Bench> {
  const buildctl = await toolPath("buildctl");
  const address = configured ?? process.env.BUILDKIT_HOST;
  const daemon = address ? undefined : await privateDaemon(places, work);
  try {
    const endpoint = parseEndpoint({ address: daemon?.address ?? address, buildctl });
    const facts = await builderFacts(endpoint, { go: daemon?.go, signal: work.signal });
    return { endpoint, facts, id: builderId(endpoint, facts), close: async () => await daemon?.release() };
  } catch (error) {
    await daemon?.release();
    throw error;
  }
}

async function privateDaemon(places: Places, work: Work) {
  const [buildkitd, runc] = [await toolPath("buildkitd"), await toolPath("runc")];
  const go = (await goVersionOf(buildkitd)) ?? undefined;
  const daemon = await acquireDaemon({
    buildkitd,
    runc,
    root: places.buildkit,
    log: work.progress,
    signal: work.signal,
  });
  return { ...daemon, go };
}

async function toolPath(name: "buildctl" | "buildkitd" | "runc"): Promise<string> {
  const tool = await findTool(name);
  if (tool) return tool.path;
  throw new Error(
    `${name} is neither on PATH nor built yet; build it with: npm start, or give a BuildKit of yours: export BUILDKIT_HOST=…`,
  );
}

function builderId(endpoint: Endpoint, { arch, cpuVendor }: BuilderFacts): string {
  const machine = createHash("sha256").update(`${hostname()}\n${endpoint.address}`).digest("hex").slice(0, 8);
  return `${arch}-${cpuVendor}-${machine}`.toLowerCase().replace(/[^a-z0-9._-]+/g, "-");
}
