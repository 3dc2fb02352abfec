import pLimit from "p-limit";
import { SourceError, type SourceFailure, type SourceProgress } from "./download/source-error.ts";
import type { PlannedFetch } from "./fetch-plan.ts";
import type { SourceCache } from "./source-cache.ts";

/** The outcome of fetching one source. */
export type FetchOutcome = {
  readonly planned: PlannedFetch;
  readonly isObtained: boolean;
  /** Every place that did not give it, also where a later one did. */
  readonly failures: readonly SourceFailure[];
};

/** The number of sources fetched at once. */
const atOnce = 8;

/**
 * Brings every source into the cache, several at once. One that no place gives stops none of the others.
 * @param onEnd is told of each source as it ends
 * @param onProgress is told of what goes on meanwhile
 * @throws the signal's reason when aborted, and an error of the disk's
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
    const outcome = await obtained(planned, cache, signal, onProgress);
    onEnd(outcome);
    return outcome;
  };
  return await Promise.all(plan.map((planned) => limit(fetchOne, planned)));
}

async function obtained(
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
