import { type Digest, digestOf } from "./digest.ts";

/** Media types of the OCI image spec (media-types.md). StageX exports no Docker media types. */
export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layers: [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
  ],
} as const;

/** A reference to a blob (OCI image-spec, descriptor.md). */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
};

/** A JSON document of an image, with the bytes that its digest is of. */
export type Document = Descriptor & { readonly bytes: Buffer };

/** Returns a descriptor's own members, without any others that the value has. */
export function descriptorOf({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

/** Describes the bytes of a document. */
export function documentOf(mediaType: string, bytes: Buffer): Document {
  return { mediaType, digest: digestOf(bytes), size: bytes.length, bytes };
}

/**
 * The config of an artifact that has none (OCI image-spec, manifest.md, "Guidance for an Empty
 * Descriptor").
 */
export const emptyConfig: Document = documentOf("application/vnd.oci.empty.v1+json", Buffer.from("{}"));
