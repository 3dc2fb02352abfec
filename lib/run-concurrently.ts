/**
 * Works on all items at once. After the first failure the signal of the others is aborted with that
 * error, and they are waited for, so that nothing which they share ends before they do.
 * @param signal aborts all of them
 * @throws the first error; the signal's reason where the signal was aborted before
 */
export async function runConcurrently<Item, Result>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, signal: AbortSignal, index: number) => Promise<Result>,
): Promise<Result[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const settled = await Promise.allSettled(
    items.map(async (item, index) => {
      try {
        return await work(item, either, index);
      } catch (error) {
        failed.abort(signal.aborted ? signal.reason : error);
        throw error;
      }
    }),
  );
  if (failed.signal.aborted) throw failed.signal.reason;
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}
