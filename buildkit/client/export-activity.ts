import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** Between two looks at the folder, in milliseconds. */
const interval = 3_000;

/**
 * Calls `onArrival` while the content of a folder grows: buildctl prints nothing while it receives
 * an image, which takes long over a slow line.
 * @returns a function that ends it
 */
export function watchExportActivity(folder: string, onArrival: () => void): () => void {
  let known = 0;
  const timer = setInterval(async () => {
    const found = await bytesIn(folder);
    if (found > known) onArrival();
    known = found;
  }, interval);
  return () => clearInterval(timer);
}

/** Sums the sizes of files; those that vanish meanwhile count as empty. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
