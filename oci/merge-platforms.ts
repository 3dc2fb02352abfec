import { link, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ifExists } from "../lib/fs/error-code.ts";
import { readBlob } from "./blob.ts";
import { buildkitIndexJson, buildkitIndexOver } from "./buildkit-index.ts";
import { parseIndex } from "./image-documents.ts";
import { layoutBlobPath, layoutMarker, openLayout } from "./layout.ts";

/** The entries of an image index as they were written, with their members in that order. */
type WrittenIndex = { readonly manifests: readonly object[] };

/**
 * Merges layouts that have one or more platforms each into one image, as if one builder had built
 * them all: the index is byte for byte BuildKit's over the same manifests in this order. Blobs are
 * linked, so all folders must be on one file system.
 * @param parts folders with one image each, in the order in which the platforms were asked for
 * @param image,version its name and version, as BuildKit notes them in index.json
 * @throws LayoutError where two parts are for one platform, or a document has other bytes than its
 * digest
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
  const index = buildkitIndexOver(manifests);
  const path = layoutBlobPath(destination, index.digest);
  parseIndex(index.bytes, path, index.digest);
  await writeFile(path, index.bytes);
  await writeFile(join(destination, "oci-layout"), layoutMarker);
  await writeFile(join(destination, "index.json"), buildkitIndexJson(index, image, version));
}

async function linkBlobs(part: string, destination: string): Promise<void> {
  const folder = join(part, "blobs", "sha256");
  for (const name of await readdir(folder)) {
    await link(join(folder, name), join(destination, "blobs", "sha256", name)).catch(ifExists(undefined));
  }
}
