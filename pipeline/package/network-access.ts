import { z } from "zod";
import type { StagexConfig } from "../../config/schema.ts";
import type { BuildPlan } from "../../distro/build-plan.ts";
import { parseContainerfile } from "../../distro/recipe/containerfile-reader.ts";
import { wrapFetchingRuns } from "../../distro/recipe/fetching-runs.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { compileGlob } from "../../lib/text/glob.ts";
import { type Printable, printable, printableLine } from "../../lib/text/printable.ts";
import { parseConfig } from "../../oci/image.ts";
import { FetchRecordError } from "../../sources/recording/fetch-record-error.ts";
import { FetchRecordStore, type NamedRecord } from "../../sources/recording/fetch-record-store.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";
import { type FetchSession, withFetchSession } from "./fetch-session.ts";
import type { PackageInputs } from "./inputs.ts";
import { inputKeyOf } from "./package-key.ts";

/** How an image is built whose recipe fetches. */
export type NetworkAccess = {
  readonly session: FetchSession;
  /** What BuildKit is given in place of the Containerfile's text. */
  readonly rewrite: (text: string) => string;
};

/** In bytes: as large as documents of images are in the store (oci/store/store.ts). */
const largestConfig = 16 * 1024 * 1024;

/** The commands that fetch in this image beside the usual ones. */
export function configuredFetchers({ network }: Pick<StagexConfig, "network">, image: string): string[] {
  return Object.entries(network.fetchers).flatMap(([pattern, commands]) =>
    compileGlob(pattern)(image) ? commands : [],
  );
}

/** Whether a build of the image is given a proxy. */
export function mayFetch(
  config: StagexConfig,
  { name, fetchers }: Pick<BuildPlan, "name" | "fetchers">,
): boolean {
  return config.network.mode !== "none" && fetchers.length + configuredFetchers(config, name).length > 0;
}

/**
 * Builds an image with what its recipe fetches: from its fetch record where there is one, else from the internet, which is recorded. Of
 * several builds that would record at once, the first does, and the others are replayed.
 * @returns what the build returns, and the sha256 of the fetch record; undefined where it fetches nothing
 * @throws Error where there is no record, and records alone may be used
 */
export async function withNetworkAccess<T>(
  context: Context,
  inputs: PackageInputs,
  plan: BuildPlan,
  operation: Operation,
  build: (fetching: NetworkAccess | undefined) => Promise<T>,
): Promise<{ readonly result: T; readonly fetches: string | undefined }> {
  const { config } = context;
  if (!mayFetch(config, plan)) return { result: await build(undefined), fetches: undefined };
  const key = inputKeyOf(inputs);
  const records = new FetchRecordStore(context.trustedLedger.root);
  const known = await records.find(key);
  if (known) return await withSession(context, inputs, known, operation, build);
  if (config.network.mode === "replay")
    throw new Error(
      `${inputs.image}: its recipe fetches with ${plan.fetchers.join(", ")}, and there is no fetch record for its inputs: set stagex:network to record, or take the record from a ledger that has it`,
    );
  return await context.recordingLimit(key)(async () =>
    withSession(context, inputs, await records.find(key), operation, build),
  );
}

async function withSession<T>(
  context: Context,
  inputs: PackageInputs,
  known: NamedRecord | undefined,
  operation: Operation,
  build: (fetching: NetworkAccess | undefined) => Promise<T>,
): Promise<{ readonly result: T; readonly fetches: string }> {
  const { image } = inputs;
  const { hosts, private: privates } = context.config.network;
  const more = configuredFetchers(context.config, image);
  const shells = await shellsOf(context, inputs);
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
    const record = { inputKey: inputKeyOf(inputs), image, answers: [...session.answers] };
    // First where nobody else writes, as with the ledger.
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

/** The shells of the dependencies that set one: what a stage that starts from them runs its steps with. */
async function shellsOf(
  context: Context,
  { dependencies }: PackageInputs,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const store = await context.store();
  const shells = new Map<string, readonly string[]>();
  for (const [name, digest] of Object.entries(dependencies)) {
    const { manifests } = (await store.find(digest)) ?? (await store.readImage(digest));
    for (const { config } of manifests) {
      const path = store.blobPath(config.digest);
      const bytes = await readRegularFile(path, largestConfig);
      const { data } = shellSchema.safeParse(parseConfig(bytes, path, config.digest));
      if (data) shells.set(name, data.config.Shell);
    }
  }
  return shells;
}
