import type { Writable } from "node:stream";
import { checkLayer, jsonLimit, readBlob, requireDiffId, unpackingError } from "../blob.ts";
import { type Descriptor, mediaTypes } from "../descriptor.ts";
import { type Digest, digestOf } from "../digest.ts";
import { type BlobReader, readManifest, zip } from "../image.ts";
import { parseIndex, parseManifest } from "../image-documents.ts";
import { LayerHasher } from "../layer-hasher.ts";
import { layoutBlobPath, openLayout } from "../layout.ts";
import type { RegistryAddress } from "./registry-address.ts";
import { RegistryClient } from "./registry-client.ts";
import { registryError } from "./registry-error.ts";
import type { RegistryLimits } from "./registry-limits.ts";
import { isIndex, pullManifest, pullTag } from "./registry-manifest.ts";

/** An image that is read and not kept: in a repository of a registry, or in a layout folder. */
export type ImageSource = BlobReader & {
  /** Reads the document that is meant: an index, or one platform's manifest. */
  readRoot(): Promise<{ readonly digest: Digest; readonly bytes: Buffer }>;
};

/** One platform's manifest, without the facts that only its config has. */
export type ListedManifest = {
  readonly digest: Digest;
  /** The digest of the index that lists it; its own where it stands alone. */
  readonly root: Digest;
  /** In bytes. */
  readonly size: number;
  /**
   * Such as `linux/amd64`; null where the manifest stands alone, since only an index or the config
   * names it.
   */
  readonly platform: string | null;
  /**
   * Its annotation org.opencontainers.image.version, which StageX's builds have; null where there
   * is none.
   */
  readonly version: string | null;
};

/** The number of blobs and bytes that were verified. */
export type VerifiedAmount = { readonly blobs: number; readonly bytes: number };

/**
 * Returns an image in a registry.
 * @param repository with the registry's host: address and image in one
 * @param wanted a digest, or a tag, which is resolved when the image is read
 * @param program path of the registry client
 */
export function imageInRegistry(
  repository: RegistryAddress,
  wanted: { readonly digest: Digest } | { readonly tag: string },
  program: string,
  signal?: AbortSignal,
  limits?: RegistryLimits,
): ImageSource {
  const client = new RegistryClient(program, limits).forImage();
  const pathOf = (digest: Digest) => `${repository}@${digest}`;
  const actionFor = (blob: Descriptor) => `pulling the blob ${pathOf(blob.digest)}`;
  const wrongBytes = (blob: Descriptor, found: Digest) =>
    registryError("wrong-bytes", actionFor(blob), `it gave ${found}`);
  return {
    pathOf,
    readRoot: async () =>
      "digest" in wanted
        ? await pullManifest(client, repository, wanted.digest, { signal })
        : await pullTag(client, repository, wanted.tag, { signal }),
    readDocument: async (blob) => {
      if (blob.mediaType !== mediaTypes.config)
        return (await pullManifest(client, repository, blob.digest, { signal })).bytes;
      if (blob.size > jsonLimit) throw wrongBytes(blob, blob.digest);
      const { size } = blob;
      const request = { action: actionFor(blob), limit: size, size, signal };
      const bytes = await client.read(["blob", pathOf(blob.digest)], request);
      if (digestOf(bytes) !== blob.digest) throw wrongBytes(blob, digestOf(bytes));
      return bytes;
    },
    verifyLayer: async (blob, diffId) => {
      const { size } = blob;
      const at = pathOf(blob.digest);
      const hasher = new LayerHasher(blob);
      const openOutput = (): Writable => hasher.restart();
      await client.run(["blob", at], { action: actionFor(blob), openOutput, limit: size, size, signal });
      if (hasher.packed() !== blob.digest) throw wrongBytes(blob, hasher.packed());
      const unpacked = hasher.unpacked();
      if ("reason" in unpacked) throw unpackingError(at, blob, unpacked.reason);
      requireDiffId(at, blob, diffId, unpacked.digest);
    },
  };
}

/** Returns the one image of an OCI layout folder, such as `out/core-musl`. */
export function imageInLayout(folder: string, signal?: AbortSignal): ImageSource {
  const pathOf = (digest: Digest) => layoutBlobPath(folder, digest);
  return {
    pathOf,
    readRoot: async () => {
      const { image } = await openLayout(folder);
      return { digest: image.digest, bytes: await readBlob(pathOf(image.digest), image) };
    },
    readDocument: (blob) => readBlob(pathOf(blob.digest), blob),
    verifyLayer: (blob, diffId) => checkLayer(pathOf(blob.digest), blob, diffId, signal),
  };
}

/**
 * Lists the manifests of an image, one for each platform, their bytes verified.
 * @throws RegistryError, LayoutError
 */
export async function listManifests(source: ImageSource): Promise<readonly ListedManifest[]> {
  const root = await source.readRoot();
  const at = source.pathOf(root.digest);
  if (!isIndex(root.bytes)) return [listedManifest(root, at, null, root.digest)];
  const manifests: ListedManifest[] = [];
  for (const entry of parseIndex(root.bytes, at, root.digest)) {
    const found = { digest: entry.digest, bytes: await source.readDocument(entry) };
    manifests.push(listedManifest(found, source.pathOf(entry.digest), entry.platform, root.digest));
  }
  return manifests;
}

/**
 * Reads one platform's image from its manifest down, and hashes every byte of it. Each layer is
 * unpacked and compared with the config's rootfs.diff_ids (OCI image-spec, config.md), which
 * runtimes and scanners rely on.
 * @throws RegistryError; LayoutError where a blob is missing or wrong
 */
export async function verifyManifest(
  source: ImageSource,
  { digest, size, platform }: ListedManifest,
): Promise<VerifiedAmount> {
  const entry = { mediaType: mediaTypes.manifest, digest, size, platform };
  const { manifest, diffIds } = await readManifest(entry, source);
  const pairs = zip(manifest.layers, diffIds).map((pair) => [`${pair[0].digest} ${pair[1]}`, pair] as const);
  for (const [layer, diffId] of new Map(pairs).values()) await source.verifyLayer(layer, diffId);
  const layers = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
  const verified = [entry, manifest.config, ...layers.values()];
  return { blobs: verified.length, bytes: verified.reduce((sum, blob) => sum + blob.size, 0) };
}

function listedManifest(
  { digest, bytes }: { digest: Digest; bytes: Buffer },
  at: string,
  platform: string | null,
  root: Digest,
): ListedManifest {
  const { annotations } = parseManifest(bytes, at, digest);
  const version = annotations?.["org.opencontainers.image.version"] ?? null;
  return { digest, root, size: bytes.length, platform, version };
}
