import { lstat } from "node:fs/promises";
import pLimit from "p-limit";
import type { SourceCache } from "./source-cache.ts";
import { type LocalSource, type NamedSource, VaultError, type VaultPlace } from "./vault/vault-place.ts";

export type PushStatus = "there" | "pushed" | "failed" | "absent";

/** The outcome of a push to one place. */
export type PushReport = {
  /** The place's name. */
  readonly place: string;
  /** By sha256. `absent`: not in the cache, so it could not be pushed. */
  readonly status: ReadonlyMap<string, PushStatus>;
  /** The reasons why the place rejected one or all of them. */
  readonly failures: readonly string[];
};

/** The number of failures in a row after which a place is skipped for the rest of this push. */
const maxFailuresInARow = 3;

/** The number of sources pushed to one place at once. */
const atOnce = 4;

/**
 * Pushes sources from the cache to each writable place of the vault. Skips the sources that the
 * place holds already, so an interrupted push continues. A place that fails stops none of the
 * others.
 * @param onPushed called for each pushed source
 * @throws the signal's reason when aborted
 */
export async function pushToVault(
  sources: readonly NamedSource[],
  { cache, signal, onPushed }: PushRun,
): Promise<PushReport[]> {
  const here = new Map<string, LocalSource>();
  for (const source of sources) {
    const path = cache.pathOf(source.sha256);
    const facts = await lstat(path).catch(() => null);
    if (facts?.isFile()) here.set(source.sha256, { ...source, path, size: facts.size });
  }
  const reports: PushReport[] = [];
  for (const place of cache.vault) {
    if (place.writer === undefined) continue;
    const { status, failures } = await pushTo(place, here, { cache, signal, onPushed });
    for (const { sha256 } of sources) if (!here.has(sha256)) status.set(sha256, "absent");
    reports.push({ place: place.name, status, failures });
  }
  return reports;
}

export type PushRun = {
  readonly cache: Pick<SourceCache, "pathOf" | "vault">;
  readonly signal: AbortSignal;
  readonly onPushed?: ((source: NamedSource, place: string) => void) | undefined;
};

async function pushTo(
  { name, writer }: VaultPlace,
  here: ReadonlyMap<string, LocalSource>,
  { signal, onPushed }: PushRun,
): Promise<{ status: Map<string, PushStatus>; failures: string[] }> {
  const failures: string[] = [];
  let failedInARow = 0;
  const attempt = async (work: () => Promise<void>): Promise<boolean> => {
    try {
      await work();
      failedInARow = 0;
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof VaultError)) throw error;
      failedInARow += 1;
      failures.push(error.message);
      return false;
    }
  };
  let missing: ReadonlySet<string> = new Set();
  const isKnown = await attempt(async () => {
    missing = (await writer?.missing(here, signal)) ?? new Set();
  });
  const pushOne = async (file: LocalSource): Promise<PushStatus> => {
    signal.throwIfAborted();
    if (isKnown && !missing.has(file.sha256)) return "there";
    if (!isKnown || failedInARow >= maxFailuresInARow) return "failed";
    if (!(await attempt(async () => writer?.write(file, signal)))) return "failed";
    onPushed?.(file, name);
    return "pushed";
  };
  const limit = pLimit(atOnce);
  const pushed = [...here.values()].map(async (file) => [file.sha256, await limit(pushOne, file)] as const);
  return { status: new Map(await Promise.all(pushed)), failures };
}
