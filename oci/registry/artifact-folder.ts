import { link, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Document } from "../buildkit-index.ts";
import type { Digest } from "../digest.ts";
import { mediaTypes } from "../image.ts";
import { layoutBlobPath, layoutMarker } from "../layout.ts";

/** An artifact on its way to a registry. */
export type ArtifactContent = {
  readonly manifest: Document;
  /** What the manifest names, but for the files. */
  readonly blobs: readonly Document[];
  /** Blobs that are files already, on the folder's file system. */
  readonly files?: ReadonlyMap<Digest, string>;
};

/** Makes an OCI layout of one artifact for as long as `work` takes, and removes it afterwards, also on error. */
export async function withArtifactFolder<T>(
  folder: string,
  { manifest, blobs, files = new Map() }: ArtifactContent,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
  try {
    for (const [digest, path] of files) await link(path, layoutBlobPath(folder, digest));
    for (const { digest, bytes } of [...blobs, manifest])
      await writeFile(layoutBlobPath(folder, digest), bytes);
    await writeFile(join(folder, "oci-layout"), layoutMarker);
    const { mediaType, digest, size } = manifest;
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [{ mediaType, digest, size }] };
    await writeFile(join(folder, "index.json"), JSON.stringify(index));
    return await work();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
