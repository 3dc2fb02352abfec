import type { Writable } from "node:stream";
import { checkLayer, jsonLimit, readBlob, requireDiffId, unpackingError } from "../blob.ts";
import { type Digest, digestOf } from "../digest.ts";
import {
  type BlobReader,
  type Descriptor,
  mediaTypes,
  parseIndex,
  parseManifest,
  readManifest,
} from "../image.ts";
import { LayerHasher } from "../layer-hasher.ts";
import { layoutBlobPath, openLayout } from "../layout.ts";
import type { RegistryAddress } from "./registry-address.ts";
import { RegistryClient } from "./registry-client.ts";
import { registryError } from "./registry-error.ts";
import type { RegistryLimits } from "./registry-limits.ts";
import { isIndex, OutputBuffer, pullManifest, pullTag } from "./registry-manifest.ts";

/** Where an image lies, to be read through and not kept: a repository of a registry, or a layout folder. */
export type ImageSource = BlobReader & {
  /** The document that is meant: an index, or one platform's manifest. */
  readRoot(): Promise<{ readonly digest: Digest; readonly bytes: Buffer }>;
};

/** One platform's manifest, as far as it is known without its config. */
export type ListedManifest = {
  readonly digest: Digest;
  /** Of the index that it was found in, or its own where it stands alone. */
  readonly root: Digest;
  /** In bytes. */
  readonly size: number;
  /** Such as `linux/amd64`; null where the manifest stands alone, since only an index or the config says it. */
  readonly platform: string | null;
  /** Its annotation org.opencontainers.image.version, which StageX's builds have; null where there is none. */
  readonly version: string | null;
};

/** How much was read and found to be what its digest says. */
export type VerifiedAmount = { readonly blobs: number; readonly bytes: number };

/**
 * An image in a registry.
 * @param repository with the host; address and image in one
 * @param what a digest, or a tag, which is looked up now
 * @param program path of the registry client
 */
export function imageInRegistry(
  repository: RegistryAddress,
  what: { readonly digest: Digest } | { readonly tag: string },
  program: string,
  signal?: AbortSignal,
  limits?: RegistryLimits,
): ImageSource {
  const client = new RegistryClient(program, limits).forImage();
  const stream = async (blob: Descriptor, to: () => Writable): Promise<void> => {
    const reference = `${repository}@${blob.digest}`;
    const doing = `pulling the blob ${reference}`;
    await client.run(["blob", reference], {
      action: doing,
      openOutput: to,
      limit: blob.size,
      size: blob.size,
      signal,
    });
  };
  const wrong = (blob: Descriptor, found: Digest) =>
    registryError("wrong-bytes", `pulling the blob ${repository}@${blob.digest}`, `it gave ${found}`);
  return {
    pathOf: (digest) => `${repository}@${digest}`,
    readRoot: async () =>
      "digest" in what
        ? await pullManifest(client, repository, what.digest, signal)
        : await pullTag(client, repository, what.tag, signal),
    readDocument: async (blob) => {
      if (blob.mediaType !== mediaTypes.config)
        return (await pullManifest(client, repository, blob.digest, signal)).bytes;
      if (blob.size > jsonLimit) throw wrong(blob, blob.digest);
      const answer = new OutputBuffer();
      await stream(blob, () => answer.restart());
      const bytes = answer.bytes();
      if (digestOf(bytes) !== blob.digest) throw wrong(blob, digestOf(bytes));
      return bytes;
    },
    verifyLayer: async (blob, diffId) => {
      const hashing = new LayerHasher(blob);
      await stream(blob, () => hashing.restart());
      if (hashing.packed() !== blob.digest) throw wrong(blob, hashing.packed());
      const at = `${repository}@${blob.digest}`;
      const found = hashing.unpacked();
      if ("trouble" in found) throw unpackingError(at, blob, found.trouble);
      requireDiffId(at, blob, diffId, found.digest);
    },
  };
}

/** The one image of an OCI layout folder, such as `out/core-musl`. */
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
 * The manifests of an image, one for each platform, their bytes compared with their digests.
 * @throws RegistryError, LayoutError
 */
export async function listManifests(place: ImageSource): Promise<readonly ListedManifest[]> {
  const root = await place.readRoot();
  const at = place.pathOf(root.digest);
  if (!isIndex(root.bytes)) return [placed(root, at, null, root.digest)];
  const manifests: ListedManifest[] = [];
  for (const entry of parseIndex(root.bytes, at, root.digest)) {
    const bytes = await place.readDocument(entry);
    const found = { digest: entry.digest, bytes };
    manifests.push(placed(found, place.pathOf(entry.digest), entry.platform, root.digest));
  }
  return manifests;
}

/**
 * Reads one platform's image through, from its manifest down, hashes every byte of it, and unpacks each layer to compare it with what
 * the config says (OCI image spec, config.md, rootfs.diff_ids): that is what runtimes and scanners believe.
 * @throws RegistryError, LayoutError where a blob is missing, or has other bytes than its digest or the config says
 */
export async function verifyManifest(
  place: ImageSource,
  { digest, size, platform }: ListedManifest,
): Promise<VerifiedAmount> {
  const entry = { mediaType: mediaTypes.manifest, digest, size, platform };
  const { manifest, diffIds } = await readManifest(entry, place);
  const layers = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
  const said = new Map<string, { layer: Descriptor; diffId: Digest }>();
  for (const [number, layer] of manifest.layers.entries()) {
    const diffId = diffIds[number] ?? layer.digest;
    said.set(`${layer.digest} ${diffId}`, { layer, diffId });
  }
  for (const { layer, diffId } of said.values()) await place.verifyLayer(layer, diffId);
  const read = [entry, manifest.config, ...layers.values()];
  return { blobs: read.length, bytes: read.reduce((sum, blob) => sum + blob.size, 0) };
}

function placed(
  { digest, bytes }: { digest: Digest; bytes: Buffer },
  at: string,
  platform: string | null,
  root: Digest,
): ListedManifest {
  const { annotations } = parseManifest(bytes, at, digest);
  const version = annotations?.["org.opencontainers.image.version"] ?? null;
  return { digest, root, size: bytes.length, platform, version };
}
