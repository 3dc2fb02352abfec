import {
  type Descriptor,
  type Document,
  descriptorOf,
  documentOf,
  emptyConfig,
  mediaTypes,
} from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import { withArtifactFolder } from "./artifact-folder.ts";
import type { RegistryAddress } from "./registry-address.ts";
import type { RegistryClient, RequestOptions } from "./registry-client.ts";
import { pullManifest } from "./registry-manifest.ts";

/**
 * A statement about an image. It lies beside the image in a registry: inside, it would change the
 * image's digest.
 */
export type Artifact = {
  /** The manifest or index that it is about. */
  readonly subject: Descriptor;
  /** Its kind, a media type, by which clients find it. */
  readonly artifactType: string;
  readonly layers: readonly ArtifactLayer[];
};

export type ArtifactLayer = {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly annotations?: Readonly<Record<string, string>>;
};

/**
 * An artifact as it lies in a registry: a manifest that refers to its subject, and the blobs that
 * it names.
 */
export type Referrer = { readonly manifest: Document; readonly blobs: readonly Document[] };

/**
 * Returns the manifest of an artifact (OCI image-spec, manifest.md, "Guidelines for Artifact
 * Usage"). The same artifact gives the same bytes, so pushing it again adds nothing.
 */
export function referrerOf({ subject, artifactType, layers }: Artifact): Referrer {
  const contents = layers.map(({ mediaType, bytes, annotations }) => ({
    layer: documentOf(mediaType, Buffer.from(bytes)),
    annotations,
  }));
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: descriptorOf(emptyConfig),
    layers: contents.map(({ layer, annotations }) => ({
      ...descriptorOf(layer),
      ...(annotations === undefined ? {} : { annotations }),
    })),
    subject: descriptorOf(subject),
  };
  return {
    manifest: documentOf(mediaTypes.manifest, Buffer.from(JSON.stringify(manifest))),
    blobs: [emptyConfig, ...contents.map(({ layer }) => layer)],
  };
}

/** Options of {@link pushReferrer}. */
export type PushOptions = RequestOptions & {
  readonly client: RegistryClient;
  /** A temporary folder is made below it. */
  readonly scratch: string;
};

/**
 * Pushes an artifact beside its subject, and reads its manifest back. A registry with the referrers
 * API lists it there by itself. For one without, the client keeps the list under the tag
 * `sha256-<hex of the subject>` (distribution-spec, "Unavailable Referrers API").
 * @param repository the image's own, with the registry's host
 * @returns the digest of the artifact's manifest
 * @throws RegistryError
 */
export async function pushReferrer(
  repository: RegistryAddress,
  { manifest, blobs }: Referrer,
  { client, scratch, signal, retryFor, onRetry }: PushOptions,
): Promise<Digest> {
  const request = { signal, retryFor, onRetry };
  await withArtifactFolder(scratch, { manifest, blobs }, async (folder) => {
    const reference = `${repository}@${manifest.digest}`;
    const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
    await client.read(["push", folder, reference], { ...request, action: `pushing ${reference}`, size });
  });
  return (await pullManifest(client, repository, manifest.digest, request)).digest;
}
