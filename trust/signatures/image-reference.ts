import { type Digest, parseDigest } from "../../oci/digest.ts";

/** An image by name and digest: `stagex/core-musl:1.2.5@sha256:…`. */
export type PinnedImage = {
  /** The full `repository:tag` that a signature must name: `docker.io/stagex/core-musl:1.2.5`. */
  readonly reference: TaggedReference;
  /** The digest of the manifest, which a signature must name too. */
  readonly digest: Digest;
};

/** `repository:tag` with the registry's host, normalized: two that name the same are equal. */
export type TaggedReference = string & { readonly __tagged: unique symbol };

/** A repository with its registry's host, `docker.io/stagex/core-musl`. */
export type Repository = string & { readonly __repository: unique symbol };

// The grammar of github.com/distribution/reference, regexp.go.
const host = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domain = String.raw`(?:${host}(?:\.${host})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?`;
const component = String.raw`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`;
const repositoryPattern = new RegExp(`^(?:(${domain})/)?(${component}(?:/${component})*)$`);
const tagPattern = /^[\w][\w.-]{0,127}$/;

/**
 * Parses and normalizes a repository. Docker Hub is the default, and has an older name:
 * `stagex/core-musl` and `index.docker.io/stagex/core-musl` are `docker.io/stagex/core-musl`
 * (distribution/reference, normalize.go, splitDockerDomain). podman compares repositories in the
 * same way.
 */
export function parseRepository(text: string): Repository {
  const first = text.split("/", 1)[0] ?? "";
  const hasHost = text.includes("/") && (/[.:]/.test(first) || first === "localhost" || /[A-Z]/.test(first));
  const full = hasHost
    ? text.replace(/^index\.docker\.io\//, "docker.io/")
    : `docker.io/${text.includes("/") ? text : `library/${text}`}`;
  if (text.length > 255 || !repositoryPattern.test(full)) {
    throw new Error(
      `not a repository: ${JSON.stringify(text.slice(0, 100))} (expected a name such as stagex/core-musl)`,
    );
  }
  return full as Repository;
}

/**
 * Returns the repository without its host, `stagex/core-musl`: the name of its folder in a
 * lookaside.
 */
export function repositoryPath(repository: Repository): string {
  return repository.slice(repository.indexOf("/") + 1);
}

/**
 * Parses `REPO:TAG`.
 * @throws Error if the tag is missing: a signature is for one tag of a repository
 */
export function parseTaggedReference(text: string): TaggedReference {
  const colon = text.lastIndexOf(":");
  const tag = text.slice(colon + 1);
  if (colon < 0 || !tagPattern.test(tag)) {
    throw new Error(
      `no tag in ${JSON.stringify(text.slice(0, 100))} (expected a name such as stagex/core-musl:1.2.5)`,
    );
  }
  return `${parseRepository(text.slice(0, colon))}:${tag}` as TaggedReference;
}

/** Parses `REPO:TAG@sha256:…`. */
export function parsePinnedImage(text: string): PinnedImage {
  const at = text.indexOf("@");
  if (at < 0) {
    throw new Error(
      `no digest in ${JSON.stringify(text.slice(0, 200))} (expected REPOSITORY:TAG@sha256:…, the digest of the manifest)`,
    );
  }
  return { reference: parseTaggedReference(text.slice(0, at)), digest: parseDigest(text.slice(at + 1)) };
}

/** Returns the repository of a tagged reference. */
export function repositoryOf(reference: TaggedReference): Repository {
  return reference.slice(0, reference.lastIndexOf(":")) as Repository;
}
