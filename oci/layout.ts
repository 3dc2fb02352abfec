import { join } from "node:path";
import { z } from "zod";
import { isMissing } from "../lib/fs/error-code.ts";
import { RegularFileError, readRegularFileSync } from "../lib/fs/regular-file.ts";
import { checkBlob, checkLayer, jsonLimit, readBlob, readLayoutFile } from "./blob.ts";
import { type Descriptor, descriptorOf, mediaTypes } from "./descriptor.ts";
import { type Digest, hexOf } from "./digest.ts";
import { type Image, readImage } from "./image.ts";
import { parseLayoutIndex } from "./image-documents.ts";
import { LayoutError } from "./layout-error.ts";

/** The content of `oci-layout`, as BuildKit writes it (OCI image-spec, image-layout.md). */
export const layoutMarker = '{"imageLayoutVersion":"1.0.0"}';

const markerSchema = z.object({ imageLayoutVersion: z.string().regex(/^1\./) });

/** Returns where a layout folder keeps a blob. A parsed digest can't lead out of the folder. */
export function layoutBlobPath(folder: string, digest: Digest): string {
  return join(folder, "blobs", "sha256", hexOf(digest));
}

/** Returns the `index.json` of a layout folder with one image or artifact. */
export function layoutIndexJson(image: Descriptor): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [descriptorOf(image)] });
}

/**
 * Reads the one image of an OCI layout folder, and re-derives every digest and size from its bytes.
 * With `diffIds` each layer is also unpacked and compared with the config's rootfs.diff_ids (slower
 * by the unpacking).
 * @throws LayoutError that names the file and what is wrong with it
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

/**
 * Reads a layout folder's own two documents: the marker, and the index with the one image's
 * descriptor.
 * @throws LayoutError
 */
export async function openLayout(folder: string): Promise<{ image: Descriptor; indexJson: Buffer }> {
  const marker = join(folder, "oci-layout");
  const found = (await readLayoutFile(marker)).toString("utf8");
  if (!isMarker(found)) {
    const message = `${marker}: expected ${layoutMarker}, found ${JSON.stringify(found.slice(0, 100))}`;
    throw new LayoutError("malformed", marker, null, message);
  }
  const index = join(folder, "index.json");
  const indexJson = await readLayoutFile(index);
  return { image: parseLayoutIndex(indexJson, index), indexJson };
}

/**
 * Returns the image that a folder's index.json names; null where it names none. Its blobs are not
 * read. Synchronous, since a preview reads it for every image of a release.
 */
export function findLayoutImage(folder: string): Digest | null {
  const path = join(folder, "index.json");
  try {
    return parseLayoutIndex(readRegularFileSync(path, jsonLimit), path).digest;
  } catch (error) {
    if (error instanceof LayoutError || error instanceof RegularFileError || isMissing(error)) return null;
    throw error;
  }
}

function isMarker(text: string): boolean {
  try {
    return markerSchema.safeParse(JSON.parse(text)).success;
  } catch {
    return false;
  }
}
