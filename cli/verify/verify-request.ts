import { statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { parseRegistryAddress, type RegistryAddress } from "../../oci/registry/registry-address.ts";
import type { Repository } from "../../trust/signatures/image-reference.ts";
import {
  parseRepository,
  parseTaggedReference,
  repositoryOf,
} from "../../trust/signatures/image-reference.ts";

/** An image to verify, and its name in the signatures. */
export type VerifyRequest = {
  /** The image as the user named it, and as the result names it. */
  readonly image: string;
  /** The place of its bytes. */
  readonly source:
    | { readonly folder: string }
    | { readonly repository: RegistryAddress; readonly what: { digest: Digest } | { tag: string } };
  /** The repository that its signatures must name. */
  readonly signedAs: Repository;
  /** The tag that its signatures must name; null if that is the image's own version. */
  readonly signedTag: string | null;
};

/** Tags that move from image to image, and are never signed: StageX signs `:<version>`. */
const movingTag = /^(?:latest|sx\d{4}\.\d{2}\.\d+)$/;

/**
 * Parses an image as a user names it: `docker.io/stagex/core-sh:1.0`, `stagex/core-sh@sha256:…`,
 * both together, or a layout folder.
 * @param signedAs the repository in the signatures, or the name before the image's there: `stagex`
 * @throws Error that quotes the text and names what is allowed
 */
export function parseRequest(image: string, signedAs?: string): VerifyRequest {
  if (isLayout(image)) {
    const folder = resolve(image);
    return {
      image,
      source: { folder },
      signedAs: signedRepository(parseRepository(`stagex/${basename(folder)}`), signedAs),
      signedTag: null,
    };
  }
  const [name = "", digest, ...more] = image.split("@");
  if (more.length > 0) throw new Error(`not an image: ${JSON.stringify(image.slice(0, 200))}`);
  const isTagged = name.slice(name.lastIndexOf("/") + 1).includes(":");
  if (!isTagged && digest === undefined) {
    throw new Error(
      `neither a tag nor a digest in ${JSON.stringify(image.slice(0, 200))} (expected NAME:TAG, NAME@sha256:…, NAME:TAG@sha256:…, or the folder of an OCI layout)`,
    );
  }
  const repository = isTagged ? repositoryOf(parseTaggedReference(name)) : parseRepository(name);
  const tag = isTagged ? name.slice(name.lastIndexOf(":") + 1) : null;
  return {
    image,
    source: {
      repository: parseRegistryAddress(repository),
      what: digest === undefined ? { tag: tag ?? "" } : { digest: parseDigest(digest) },
    },
    signedAs: signedRepository(repository, signedAs),
    signedTag: tag === null || movingTag.test(tag) ? null : tag,
  };
}

/**
 * Returns the name of a repository in its signatures, which may differ from where it is pulled
 * from.
 */
export function signedRepository(pulled: Repository, signedAs: string | undefined): Repository {
  if (signedAs === undefined) return pulled;
  const name = pulled.slice(pulled.lastIndexOf("/"));
  return parseRepository(signedAs.endsWith(name) ? signedAs : `${signedAs}${name}`);
}

function isLayout(path: string): boolean {
  return statSync(join(path, "oci-layout"), { throwIfNoEntry: false })?.isFile() ?? false;
}
