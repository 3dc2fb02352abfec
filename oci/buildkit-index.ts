import { type Descriptor, type Document, descriptorOf, documentOf, mediaTypes } from "./descriptor.ts";

/**
 * Returns the image index that BuildKit's export puts over one platform's manifest, byte for byte.
 * An image of which only the manifest was published then has the same index digest as one that was
 * built.
 * @param platform such as `linux/amd64` or `linux/arm/v7`
 */
export function buildkitIndex(manifest: Descriptor, platform: string): Document {
  const [os = "", architecture = "", variant] = platform.split("/");
  const entry = {
    ...descriptorOf(manifest),
    platform: { architecture, os, ...(variant === undefined ? {} : { variant }) },
  };
  return buildkitIndexOver([entry]);
}

/** Returns the image index that BuildKit's export writes over these entries, byte for byte. */
export function buildkitIndexOver(entries: readonly object[]): Document {
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: entries };
  return documentOf(mediaTypes.index, Buffer.from(JSON.stringify(index, null, 2)));
}

/**
 * Returns the index.json that BuildKit's export writes into an image's layout folder, byte for
 * byte.
 */
export function buildkitIndexJson(index: Descriptor, image: string, version: string): string {
  const annotations = {
    "io.containerd.image.name": `docker.io/stagex/${image}:${version}`,
    "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
    "org.opencontainers.image.ref.name": version,
  };
  const manifests = [{ ...descriptorOf(index), annotations }];
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests });
}
