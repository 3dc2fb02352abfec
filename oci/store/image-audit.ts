import type { Digest } from "../digest.ts";
import type { ImageManifest } from "../image.ts";
import { readManifest } from "../image.ts";
import { parseIndex } from "../image-documents.ts";
import { LayoutError } from "../layout-error.ts";
import type { Damage, StoredBlobs } from "./stored-blobs.ts";

/** The result of {@link auditImage}. */
export type ImageAudit = {
  /** The image's manifests; null where a document of it is damaged. */
  readonly manifests: readonly ImageManifest[] | null;
  readonly damages: readonly Damage[];
};

/**
 * Reads an image's documents and verifies its layers. Damaged blobs are put aside.
 * @param isAnew whether layers that this process has verified are read again
 */
export async function auditImage(
  blobs: StoredBlobs,
  index: Digest,
  { isAnew, signal }: { readonly isAnew: boolean; readonly signal: AbortSignal | undefined },
): Promise<ImageAudit> {
  const damages: Damage[] = [];
  const readEntries = async () =>
    parseIndex(await blobs.readDocument({ digest: index }), blobs.pathOf(index), index);
  const entries = (await noteDamage(blobs, damages, readEntries)) ?? [];
  const manifests: ImageManifest[] = [];
  for (const entry of entries) {
    const found = await noteDamage(blobs, damages, () => readManifest(entry, blobs));
    if (found) manifests.push(found.manifest);
  }
  const areDocumentsWhole = damages.length === 0;
  if (isAnew) for (const { layers } of manifests) for (const { digest } of layers) blobs.forget(digest);
  damages.push(...(await auditLayers(blobs, manifests, signal)));
  return { manifests: areDocumentsWhole ? manifests : null, damages };
}

/** Verifies the layers of some manifests, each once. Damaged ones are put aside. */
export async function auditLayers(
  blobs: StoredBlobs,
  manifests: readonly ImageManifest[],
  signal?: AbortSignal,
): Promise<Damage[]> {
  const damages: Damage[] = [];
  const layers = new Map(manifests.flatMap(({ layers }) => layers).map((layer) => [layer.digest, layer]));
  for (const layer of layers.values()) await noteDamage(blobs, damages, () => blobs.verify(layer, signal));
  return damages;
}

/** Returns what `work` returns; null where a blob is wrong, with that blob put aside and noted. */
async function noteDamage<T>(
  blobs: StoredBlobs,
  damages: Damage[],
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LayoutError)) throw error;
    damages.push(await blobs.putAside(error));
    return null;
  }
}
