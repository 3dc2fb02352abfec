import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** Between two looks, in milliseconds. */
const pause = 3_000;

/**
 * Calls `onArrival` as long as what is in a folder grows: buildctl says nothing while it receives an image, which over a slow line takes
 * long. Returns what ends it.
 */
export function watchExportActivity(folder: string, onArrival: () => void): () => void {
  let known = 0;
  const timer = setInterval(async () => {
    const found = await bytesIn(folder);
    if (found > known) onArrival();
    known = found;
  }, pause);
  return () => clearInterval(timer);
}

/** Files that go while it looks count as empty. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
