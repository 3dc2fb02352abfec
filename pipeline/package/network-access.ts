import { z } from "zod";
import type { StagexConfig } from "../../config/schema.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { parseContainerfile } from "../../distro/recipe/containerfile-parser.ts";
import { wrapFetchingRuns } from "../../distro/recipe/fetching-runs.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { compileGlob } from "../../lib/text/glob.ts";
import { type Printable, printable, printableLine } from "../../lib/text/printable.ts";
import { parseImageConfig } from "../../oci/image-documents.ts";

import type { Store } from "../../oci/store/store.ts";
import { FetchRecordError } from "../../sources/recording/fetch-record-error.ts";
import { FetchRecordStore, type NamedRecord } from "../../sources/recording/fetch-record-store.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { type FetchSession, withFetchSession } from "./fetch-session.ts";
import type { KeyedPackage, PackageInputs } from "./inputs.ts";

/** The proxy of a build whose recipe fetches, and its rewritten recipe. */
export type NetworkAccess = {
  readonly session: FetchSession;
  /** Returns the text that BuildKit gets in place of the Containerfile. */
  readonly rewrite: (text: string) => string;
};

/** In bytes: the limit for image documents in the store (oci/store/store.ts). */
const largestConfig = 16 * 1024 * 1024;

/** Returns the commands that the configuration names as fetching in this image. */
export function configuredFetchers({ network }: Pick<StagexConfig, "network">, image: string): string[] {
  return Object.entries(network.fetchers).flatMap(([pattern, commands]) =>
    compileGlob(pattern)(image) ? commands : [],
  );
}

/** Tells whether a build of the image gets a proxy. */
export function mayFetch(
  config: StagexConfig,
  { name, fetchers }: Pick<BuildPlan, "name" | "fetchers">,
): boolean {
  return config.network.mode !== "none" && fetchers.length + configuredFetchers(config, name).length > 0;
}

/**
 * Runs a build whose recipe may fetch: from its fetch record where there is one, else from the
 * internet, which is recorded. Of several builds that would record at once, the first does, and the
 * others replay its record.
 * @returns the result of the build, and the sha256 of the fetch record; undefined where it fetches
 *   nothing
 * @throws Error where there is no record and only records may be used
 */
export async function withNetworkAccess<T>(
  context: Context,
  inputs: KeyedPackage,
  plan: BuildPlan,
  operation: Operation,
  build: (network: NetworkAccess | undefined) => Promise<T>,
): Promise<{ readonly result: T; readonly fetches: string | undefined }> {
  const { config } = context;
  if (!mayFetch(config, plan)) return { result: await build(undefined), fetches: undefined };
  const { inputKey } = inputs;
  const records = new FetchRecordStore(context.trustedLedger.root);
  const known = await records.find(inputKey);
  if (known) return await withSession(context, inputs, known, operation, build);
  if (config.network.mode === "replay")
    throw new Error(
      `${inputs.image}: its recipe fetches with ${plan.fetchers.join(", ")}, and there is no fetch record for its inputs: set stagex:network to record, or take the record from a ledger that has it`,
    );
  return await context.recordingLimit(inputKey)(async () =>
    withSession(context, inputs, await records.find(inputKey), operation, build),
  );
}

async function withSession<T>(
  context: Context,
  inputs: KeyedPackage,
  known: NamedRecord | undefined,
  operation: Operation,
  build: (network: NetworkAccess | undefined) => Promise<T>,
): Promise<{ readonly result: T; readonly fetches: string }> {
  const { image, inputKey } = inputs;
  const { hosts, private: privates } = context.config.network;
  const more = configuredFetchers(context.config, image);
  const shells = await readShells(await context.store(), inputs);
  const { path: program } = await context.proxyProgram(operation);
  const options = {
    ...{ image, program, known: known?.record.answers },
    cache: await context.sources(operation),
    scratch: context.paths.scratch,
    upstream: { mayAsk: anyOf(hosts ?? ["*"]), mayBePrivate: anyOf(privates) },
    onRequest: (url: string) => operation.progress(fetchLine(url)),
  };
  return await withFetchSession(options, async (session) => {
    const rewrite = (text: string) => {
      const { bases } = parseContainerfile(inputs.recipe, text, inputs.buildArgs);
      return wrapFetchingRuns(text, { bases }, { shells, more, wrapper: session.wrapping });
    };
    const result = await build({ session, rewrite });
    if (known) return { result, fetches: known.sha256 };
    const record = { inputKey, image, answers: [...session.answers] };
    // The local folder first, as with the ledger.
    const fetches = await new FetchRecordStore(context.built.root).write(record);
    await new FetchRecordStore(context.ledger.root).write(record).catch((error: unknown) => {
      if (!(error instanceof FetchRecordError)) throw error;
      operation.report("warning", printableLine(error.message));
    });
    return { result, fetches };
  });
}

function fetchLine(url: string): Printable {
  return printable`recording ${url}`;
}

function anyOf(patterns: readonly string[]): (host: string) => boolean {
  const globs = patterns.map((pattern) => compileGlob(pattern.toLowerCase()));
  return (host) => globs.some((fits) => fits(host.toLowerCase()));
}

const shellSchema = z.object({ config: z.object({ Shell: z.array(z.string()).min(1) }) });

/**
 * Reads the shells of the dependencies that set one. A stage that starts from them runs its steps
 * with it.
 */
async function readShells(
  store: Store,
  { dependencies }: PackageInputs,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const shells = new Map<string, readonly string[]>();
  for (const [name, digest] of Object.entries(dependencies)) {
    const { manifests } = (await store.find(digest)) ?? (await store.readImage(digest));
    for (const { config } of manifests) {
      const path = store.blobPath(config.digest);
      const bytes = await readRegularFile(path, largestConfig);
      const { data } = shellSchema.safeParse(parseImageConfig(bytes, path, config.digest));
      if (data) shells.set(name, data.config.Shell);
    }
  }
  return shells;
}
