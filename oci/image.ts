import { type Descriptor, descriptorOf, mediaTypes } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { parseImageConfig, parseIndex, parseManifest } from "./image-documents.ts";
import { LayoutError } from "./layout-error.ts";

/** One platform's image. */
export type ImageManifest = Descriptor & {
  /** Such as `linux/amd64` or `linux/arm/v7`. */
  readonly platform: string;
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly Descriptor[];
};

/** An image as StageX exports it: an index over one manifest for each platform. */
export type Image = {
  /** Digest of the image index, which BuildKit calls `containerimage.digest`. */
  readonly index: Digest;
  /** The index's size in bytes. */
  readonly indexSize: number;
  /** In the index's own order. StageX publishes and signs the digest of the first. */
  readonly manifests: readonly ImageManifest[];
};

/**
 * A source of an image's bytes. Both readers throw a {@link LayoutError} rather than accept a wrong
 * byte.
 */
export type BlobReader = {
  /** Returns the verified bytes of a JSON blob. */
  readDocument(blob: Descriptor): Promise<Buffer>;
  /** Verifies a layer. `diffId` is the digest of the unpacked layer that its config names. */
  verifyLayer(blob: Descriptor, diffId: Digest): Promise<void>;
  /** Returns the blob's name for errors. */
  pathOf(digest: Digest): string;
};

/**
 * The number of layers that are verified at once. Unpacking is done beside the main thread, hashing
 * is not: a few fill each other's gaps.
 */
const layersAtOnce = 4;

/**
 * Reads a whole image from its index's descriptor down, and verifies every byte of it.
 * @throws LayoutError
 */
export async function readImage(index: Descriptor, blobs: BlobReader): Promise<Image> {
  const entries = parseIndex(await blobs.readDocument(index), blobs.pathOf(index.digest), index.digest);
  const manifests: ImageManifest[] = [];
  const layers = new Map<string, [Descriptor, Digest]>();
  for (const entry of entries) {
    const { manifest, diffIds } = await readManifest(entry, blobs);
    for (const pair of zip(manifest.layers, diffIds)) layers.set(`${pair[0].digest} ${pair[1]}`, pair);
    manifests.push(manifest);
  }
  await runSeveral([...layers.values()], ([layer, diffId]) => blobs.verifyLayer(layer, diffId));
  return { index: index.digest, indexSize: index.size, manifests };
}

/**
 * Works on several items at once. After an error no other is begun, and those under way end first.
 */
async function runSeveral<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = items.values();
  let hasFailed = false;
  const workers = Array.from({ length: layersAtOnce }, async () => {
    for (const item of queue) {
      if (hasFailed) return;
      await work(item).catch((error: unknown) => {
        hasFailed = true;
        throw error;
      });
    }
  });
  for (const ended of await Promise.allSettled(workers)) if (ended.status === "rejected") throw ended.reason;
}

/**
 * Reads and verifies one platform's manifest and config; its layers are not read.
 * @param entry its `platform` is null where no index names it, and is then taken from the config
 * @throws LayoutError
 */
export async function readManifest(
  entry: Descriptor & { readonly platform: string | null },
  blobs: Pick<BlobReader, "readDocument" | "pathOf">,
): Promise<{ manifest: ImageManifest; diffIds: readonly Digest[] }> {
  const at = blobs.pathOf(entry.digest);
  const document = parseManifest(await blobs.readDocument(entry), at, entry.digest);
  const config = descriptorOf(document.config);
  const layers = document.layers.map(descriptorOf);
  const configAt = blobs.pathOf(config.digest);
  const configBytes = await blobs.readDocument(config);
  const { os, architecture, rootfs } = parseImageConfig(configBytes, configAt, config.digest);
  const diffIds = rootfs.diff_ids;
  // The signed digest covers the config, but not the platform that an index names beside it: an
  // index could exchange two platforms, and all digests would be right.
  const platform = entry.platform ?? `${os}/${architecture}`;
  if (!isPlatformOf(platform, os, architecture)) {
    const message = `${at}: the index has it for ${platform}, but its config is for ${os}/${architecture}`;
    throw new LayoutError("malformed", at, entry.digest, message);
  }
  if (diffIds.length !== layers.length) {
    const message =
      `${configAt}: rootfs.diff_ids has ${diffIds.length} entries, ` +
      `but the manifest ${entry.digest} has ${layers.length} layers`;
    throw new LayoutError("malformed", configAt, config.digest, message);
  }
  return { manifest: { ...descriptorOf(entry), platform, config, layers }, diffIds };
}

/**
 * Returns whether a platform such as `linux/arm64/v8` is of this system and architecture; few
 * configs name the variant.
 */
function isPlatformOf(platform: string, os: string, architecture: string): boolean {
  return platform === `${os}/${architecture}` || platform.startsWith(`${os}/${architecture}/`);
}

/**
 * Returns whether an image is for each of these platforms and no other, so that it has no manifest
 * that was not asked for.
 */
export function hasExactPlatforms(
  { manifests }: { readonly manifests: readonly Pick<ImageManifest, "platform">[] },
  platforms: readonly string[],
): boolean {
  return (
    manifests.length === platforms.length && manifests.every(({ platform }) => platforms.includes(platform))
  );
}

/**
 * Requires that an image is for these platforms and no other.
 * @throws LayoutError that names the image's platforms
 */
export function requirePlatforms(image: Image, platforms: readonly string[], path: string): void {
  if (hasExactPlatforms(image, platforms)) return;
  const found = image.manifests.map(({ platform }) => platform).join(", ");
  const message = `${path}: is for ${found}, but was asked for ${platforms.join(", ")}, and no other`;
  throw new LayoutError("malformed", path, image.index, message);
}

/** Returns every blob of an image once, children before their parents. */
export function blobsOf(image: Image): readonly Descriptor[] {
  const blobs = image.manifests.flatMap((manifest) => [
    ...manifest.layers,
    manifest.config,
    descriptorOf(manifest),
  ]);
  blobs.push({ mediaType: mediaTypes.index, digest: image.index, size: image.indexSize });
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

/** Pairs the members of two lists by position, as far as both go. */
export function zip<A, B>(first: readonly A[], second: readonly B[]): [A, B][] {
  return first.flatMap((a, position) => {
    const b = second[position];
    return b === undefined ? [] : [[a, b] satisfies [A, B]];
  });
}
