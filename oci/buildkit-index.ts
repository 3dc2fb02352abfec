import { type Digest, digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./image.ts";

/** A document of an image, with the bytes that its digest is of. */
export type Document = Descriptor & { readonly bytes: Buffer };

/**
 * The image index that BuildKit's export puts over one platform's manifest, byte for byte, for images of which only the
 * manifest was published: so one that is pulled has the same index digest as one that was built.
 * @param platform such as `linux/amd64` or `linux/arm/v7`
 */
export function buildkitIndex(manifest: Descriptor, platform: string): Document {
  const [os = "", architecture = "", variant] = platform.split("/");
  const { mediaType, digest, size } = manifest;
  const entry = {
    mediaType,
    digest,
    size,
    platform: { architecture, os, ...(variant === undefined ? {} : { variant }) },
  };
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] };
  return documentOf(mediaTypes.index, Buffer.from(JSON.stringify(index, null, 2)));
}

/** The index.json that BuildKit's export puts into the layout folder of this image, byte for byte. */
export function buildkitIndexJson(index: Descriptor, image: string, version: string): string {
  const { mediaType, digest, size } = index;
  const annotations = {
    "io.containerd.image.name": `docker.io/stagex/${image}:${version}`,
    "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
    "org.opencontainers.image.ref.name": version,
  };
  const manifests = [{ mediaType, digest, size, annotations }];
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests });
}

/** Bytes with the descriptor that they have. */
export function documentOf(mediaType: string, bytes: Buffer): Document {
  const digest: Digest = digestOf(bytes);
  return { mediaType, digest, size: bytes.length, bytes };
}
