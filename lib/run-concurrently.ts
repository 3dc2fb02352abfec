/**
 * Works on all items at once. After the first failure the others' signal is aborted, with that error as its reason, and they are waited for:
 * nothing that they share ends before they do.
 * @param signal ends them all
 * @throws the first error, whatever the others end with; the signal's reason where it was aborted before
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
