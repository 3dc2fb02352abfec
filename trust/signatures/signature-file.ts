import { type Digest, hexOf } from "../../oci/digest.ts";
import { maxMessageSize } from "../openpgp/openpgp-policy.ts";
import { SignatureRejection } from "../openpgp/signature-rejection.ts";
import { type Repository, repositoryPath } from "./image-reference.ts";

/** One file of an image's signatures: its bytes, or the reason why it was not read. */
export type SignatureFile = { readonly file: string } & (
  | { readonly bytes: Uint8Array }
  | { readonly rejection: SignatureRejection }
);

/**
 * Kinds of files, and the first part of their names: `signature-1`. The other kinds are signed
 * statements about an image.
 */
export type FileKind = "signature" | "provenance" | "sbom";

/**
 * The most signatures of an image that are read, as in podman (containers/image,
 * docker/docker_image_src.go).
 */
export const maxSignatures = 128;

/**
 * Returns the folder of an image's signatures, relative to the lookaside: podman's layout, and that
 * of StageX's `signatures/`.
 */
export function signatureFolder(repository: Repository, digest: Digest): string {
  return `${repositoryPath(repository)}@sha256=${hexOf(digest)}`;
}

/** Rejects a file of at least this many bytes. */
export function fileTooLarge(size: number): SignatureRejection {
  return new SignatureRejection(
    "too-large",
    `${size} bytes or more; no signature has more than ${maxMessageSize}`,
  );
}

/** Rejects a file beyond {@link maxSignatures}. */
export function tooManyFiles(): SignatureRejection {
  return new SignatureRejection(
    "too-many",
    `podman reads no more than ${maxSignatures} signatures of one image`,
  );
}
