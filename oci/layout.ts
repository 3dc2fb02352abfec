import { join } from "node:path";
import { z } from "zod";
import { checkBlob, checkLayer, readBlob, readLayoutFile } from "./blob.ts";
import { type Digest, hexOf } from "./digest.ts";
import { type Descriptor, type Image, parseLayoutIndex, readImage } from "./image.ts";
import { LayoutError } from "./layout-error.ts";

/** The content of `oci-layout`, as BuildKit writes it (OCI image-spec, image-layout.md). */
export const layoutMarker = '{"imageLayoutVersion":"1.0.0"}';

const markerSchema = z.object({ imageLayoutVersion: z.string().regex(/^1\./) });

/** Where a layout folder keeps a blob. A parsed digest can't lead out of the folder. */
export function layoutBlobPath(folder: string, digest: Digest): string {
  return join(folder, "blobs", "sha256", hexOf(digest));
}

/**
 * Reads the one image of an OCI layout folder, and re-derives every digest and size from its bytes.
 * With `diffIds` each layer is also unpacked and compared with the config's rootfs.diff_ids (slower by the unpacking).
 * @throws LayoutError that names the file and what is wrong with it.
 */
export async function readLayout(
  folder: string,
  options: { diffIds?: boolean; signal?: AbortSignal } = {},
): Promise<Image> {
  const pathOf = (digest: Digest) => layoutBlobPath(folder, digest);
  const { image } = await openLayout(folder);
  return readImage(image, {
    pathOf,
    readDocument: (blob) => readBlob(pathOf(blob.digest), blob),
    verifyLayer: (blob, diffId) =>
      options.diffIds === true
        ? checkLayer(pathOf(blob.digest), blob, diffId, options.signal)
        : checkBlob(pathOf(blob.digest), blob, options.signal),
  });
}

/** Reads a layout folder's own two documents: the marker, and the index with the one image's descriptor. */
export async function openLayout(folder: string): Promise<{ image: Descriptor; indexJson: Buffer }> {
  const marker = join(folder, "oci-layout");
  const markerText = (await readLayoutFile(marker)).toString("utf8");
  if (!isMarker(markerText)) {
    throw new LayoutError(
      "malformed",
      marker,
      null,
      `${marker}: expected ${layoutMarker}, found ${JSON.stringify(markerText.slice(0, 100))}`,
    );
  }
  const index = join(folder, "index.json");
  const indexJson = await readLayoutFile(index);
  return { image: parseLayoutIndex(indexJson, index), indexJson };
}

function isMarker(text: string): boolean {
  try {
    return markerSchema.safeParse(JSON.parse(text)).success;
  } catch {
    return false;
  }
}
