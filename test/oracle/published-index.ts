import { hash } from "node:crypto";
import type { Tree } from "../../distro/tree/tree.ts";

/** No manifest of a release is larger, in bytes. */
const largestManifest = 16 * 1024;

/**
 * Replaces digests of indexes by those of manifests. Until 2025.06.0 StageX's `src/digests.py`
 * wrote the digest of each image's index, since then that of the manifest in it. The index has the
 * manifest's digest, size and platform in a fixed form. So neither file is needed to test whether
 * an index is around a manifest: of all sizes, one gives the digest.
 * @returns the older tree's digests; those of indexes around the newer tree's manifests are
 *   replaced by the manifests'
 */
export function manifestDigests(older: Tree, newer: Tree): Map<string, string> {
  const digests = new Map(older.digests);
  for (const [name, manifest] of newer.digests) {
    const platform = newer.images.get(name)?.platforms[0];
    const index = older.digests.get(name);
    if (index !== undefined && platform !== undefined && isAround(index, manifest, platform)) {
      digests.set(name, manifest);
    }
  }
  return digests;
}

function isAround(index: string, manifest: string, platform: string): boolean {
  const [os, architecture] = platform.split("/");
  const descriptor = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${manifest}`,
    size: 0,
    platform: { architecture, os },
  };
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const text = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [descriptor] }, null, 2);
  const [start = "", end = ""] = text.split('"size": 0');
  for (let size = 1; size <= largestManifest; size++) {
    if (hash("sha256", `${start}"size": ${size}${end}`) === index) return true;
  }
  return false;
}
