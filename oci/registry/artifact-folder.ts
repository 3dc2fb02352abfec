import { link, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import type { Document } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import { layoutBlobPath, layoutIndexJson, layoutMarker } from "../layout.ts";

/** An artifact to push to a registry. */
export type ArtifactContent = {
  readonly manifest: Document;
  /** The blobs that the manifest names, except for the files. */
  readonly blobs: readonly Document[];
  /** Blobs that are files on the file system of the temporary folder. */
  readonly files?: ReadonlyMap<Digest, string>;
};

/**
 * Writes an OCI layout of one artifact, and removes it when `work` has ended.
 * @param scratch a temporary folder is made below it
 */
export async function withArtifactFolder<T>(
  scratch: string,
  { manifest, blobs, files = new Map() }: ArtifactContent,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  return await withTempDir(scratch, async (folder) => {
    await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
    for (const [digest, path] of files) await link(path, layoutBlobPath(folder, digest));
    for (const { digest, bytes } of [...blobs, manifest])
      await writeFile(layoutBlobPath(folder, digest), bytes);
    await writeFile(join(folder, "oci-layout"), layoutMarker);
    await writeFile(join(folder, "index.json"), layoutIndexJson(manifest));
    return await work(folder);
  });
}
