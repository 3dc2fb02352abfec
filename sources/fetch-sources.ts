import pLimit from "p-limit";
import { SourceError, type SourceFailure, type SourceProgress } from "./download/source-error.ts";
import type { PlannedFetch } from "./fetch-plan.ts";
import type { SourceCache } from "./source-cache.ts";

/** The outcome of fetching one source. */
export type FetchOutcome = {
  readonly planned: PlannedFetch;
  readonly isObtained: boolean;
  /** The failure of each place, also where a later place succeeded. */
  readonly failures: readonly SourceFailure[];
};

/** The number of sources fetched at once. */
const atOnce = 8;

/**
 * Brings every source into the cache, several at once. A source that fails everywhere stops none of
 * the others.
 * @param onEnd called with the outcome of each source
 * @param onProgress called with each step meanwhile
 * @throws the signal's reason when aborted, and any error of the disk
 */
export async function fetchSources(
  plan: readonly PlannedFetch[],
  cache: SourceCache,
  signal: AbortSignal,
  onEnd: (outcome: FetchOutcome) => void,
  onProgress: (file: string, progress: SourceProgress) => void = () => undefined,
): Promise<FetchOutcome[]> {
  const limit = pLimit(atOnce);
  const fetchOne = async (planned: PlannedFetch): Promise<FetchOutcome> => {
    signal.throwIfAborted();
    const outcome = await obtainOne(planned, cache, signal, onProgress);
    onEnd(outcome);
    return outcome;
  };
  return await Promise.all(plan.map((planned) => limit(fetchOne, planned)));
}

async function obtainOne(
  planned: PlannedFetch,
  cache: SourceCache,
  signal: AbortSignal,
  onProgress: (file: string, progress: SourceProgress) => void,
): Promise<FetchOutcome> {
  const { source } = planned;
  const failures: SourceFailure[] = [];
  try {
    await cache.obtain(source, {
      archives: source.archives,
      signal,
      onProgress: (progress) => {
        if (progress.kind === "failed") failures.push(progress);
        onProgress(source.file, progress);
      },
    });
    return { planned, isObtained: true, failures };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return { planned, isObtained: false, failures };
  }
}
