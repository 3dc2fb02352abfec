import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { jsonLimit } from "../blob.ts";
import { type Document, documentOf } from "../buildkit-index.ts";
import type { Digest } from "../digest.ts";
import { type Descriptor, mediaTypes } from "../image.ts";
import { withArtifactFolder } from "./artifact-folder.ts";
import type { RegistryAddress } from "./registry-address.ts";
import type { RegistryClient, RetryOptions } from "./registry-client.ts";
import { OutputBuffer, pullManifest } from "./registry-manifest.ts";

/** Something that is said of an image, to lie beside it in a registry: never in it, since that would change its digest. */
export type Artifact = {
  /** The manifest or index that it is about. */
  readonly subject: Descriptor;
  /** What kind it is: a media type, by which clients find it. */
  readonly artifactType: string;
  readonly layers: readonly ArtifactLayer[];
};

export type ArtifactLayer = {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly annotations?: Readonly<Record<string, string>>;
};

/** An artifact as it lies in a registry: a manifest that refers to its subject, and what that names. */
export type Referrer = { readonly manifest: Document; readonly blobs: readonly Document[] };

/** The config of what has none (OCI image-spec, manifest.md, "Guidance for an Empty Descriptor"). */
const empty = documentOf("application/vnd.oci.empty.v1+json", Buffer.from("{}"));

/**
 * The manifest of an artifact (OCI image-spec, manifest.md, "Guidelines for Artifact Usage"). The same artifact gives the same bytes,
 * so pushing it again adds nothing.
 */
export function referrerOf({ subject, artifactType, layers }: Artifact): Referrer {
  const contents = layers.map(({ mediaType, bytes, annotations }) => ({
    document: documentOf(mediaType, Buffer.from(bytes)),
    annotations,
  }));
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: descriptor(empty),
    layers: contents.map(({ document: layer, annotations }) => ({
      ...descriptor(layer),
      ...(annotations === undefined ? {} : { annotations }),
    })),
    subject: descriptor(subject),
  };
  return {
    manifest: documentOf(mediaTypes.manifest, Buffer.from(JSON.stringify(manifest))),
    blobs: [empty, ...contents.map(({ document: layer }) => layer)],
  };
}

/** What pushing needs besides the artifact. */
export type PushOptions = RetryOptions & {
  readonly client: RegistryClient;
  /** A temporary folder is made below it. */
  readonly scratch: string;
  readonly signal?: AbortSignal;
};

/**
 * Pushes an artifact beside its subject, and reads its manifest back. A registry with the referrers API lists it there by itself; for
 * one without it the client keeps the list under the tag `sha256-<hex of the subject>` (distribution-spec, "Unavailable Referrers API").
 * @param repository the image's own, with the registry's host
 * @returns the digest of the artifact's manifest
 * @throws RegistryError
 */
export async function pushReferrer(
  repository: RegistryAddress,
  { manifest, blobs }: Referrer,
  { client, scratch, signal, retryFor: endurance, onRetry: waiting }: PushOptions,
): Promise<Digest> {
  const folder = join(scratch, `referrer-${randomUUID()}`);
  await withArtifactFolder(folder, { manifest, blobs }, async () => {
    const reference = `${repository}@${manifest.digest}`;
    const said = new OutputBuffer();
    await client.run(["push", folder, reference], {
      retryFor: endurance,
      onRetry: waiting,
      action: `pushing ${reference}`,
      openOutput: () => said.restart(),
      limit: jsonLimit,
      size: blobs.reduce((sum, { size }) => sum + size, 0),
      ...(signal === undefined ? {} : { signal }),
    });
  });
  return (
    await pullManifest(client, repository, manifest.digest, signal, { retryFor: endurance, onRetry: waiting })
  ).digest;
}

function descriptor({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}
