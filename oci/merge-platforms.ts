import { link, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readBlob } from "./blob.ts";
import { buildkitIndexJson, documentOf } from "./buildkit-index.ts";
import { mediaTypes, parseIndex } from "./image.ts";
import { layoutBlobPath, layoutMarker, openLayout } from "./layout.ts";

/** The entries of an image index as they were written, in the order of their members. */
type WrittenIndex = { readonly manifests: readonly object[] };

/**
 * Makes one image out of layouts that have a platform or some each, as if one builder had built all: the index is byte for byte what
 * BuildKit writes over the same manifests in this order. Blobs are linked, so all must be on one file system.
 * @param parts folders with one image each, in the order in which the platforms were asked for
 * @param image,version its name and version, as BuildKit notes them in index.json
 * @throws LayoutError where two parts are for one platform, or a document of a part is not what its digest says
 */
export async function mergePlatforms(
  parts: readonly string[],
  destination: string,
  image: string,
  version: string,
): Promise<void> {
  const manifests: object[] = [];
  await mkdir(join(destination, "blobs", "sha256"), { recursive: true });
  for (const part of parts) {
    const { image: index } = await openLayout(part);
    const path = layoutBlobPath(part, index.digest);
    const bytes = await readBlob(path, index);
    parseIndex(bytes, path, index.digest);
    manifests.push(...(JSON.parse(bytes.toString("utf8")) as WrittenIndex).manifests);
    await linkBlobs(part, destination);
  }
  const text = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }, null, 2);
  const index = documentOf(mediaTypes.index, Buffer.from(text));
  const path = layoutBlobPath(destination, index.digest);
  parseIndex(index.bytes, path, index.digest);
  await writeFile(path, index.bytes);
  await writeFile(join(destination, "oci-layout"), layoutMarker);
  await writeFile(join(destination, "index.json"), buildkitIndexJson(index, image, version));
}

async function linkBlobs(part: string, destination: string): Promise<void> {
  const folder = join(part, "blobs", "sha256");
  for (const name of await readdir(folder)) {
    await link(join(folder, name), join(destination, "blobs", "sha256", name)).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      },
    );
  }
}
