import { type Digest, parseDigest } from "../../oci/digest.ts";

/** One image, by what it is called and by what it is: `stagex/core-musl:1.2.5@sha256:…`. */
export type PinnedImage = {
  /** `repository:tag` in full, `docker.io/stagex/core-musl:1.2.5`: what a signature must name. */
  readonly reference: TaggedReference;
  /** The manifest's digest: what a signature must name too. */
  readonly digest: Digest;
};

/** `repository:tag` with the registry's host, as `parseTagged` writes it: two of them are equal where they name the same. */
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
 * Docker Hub goes without saying, and has an older name: `stagex/core-musl` and `index.docker.io/stagex/core-musl` are
 * `docker.io/stagex/core-musl` (distribution/reference, normalize.go, splitDockerDomain). That is how podman compares them too.
 */
export function parseRepository(text: string): Repository {
  const first = text.split("/", 1)[0] ?? "";
  const hasHost = text.includes("/") && (/[.:]/.test(first) || first === "localhost" || /[A-Z]/.test(first));
  const full = hasHost
    ? text.replace(/^index\.docker\.io\//, "docker.io/")
    : `docker.io/${text.includes("/") ? text : `library/${text}`}`;
  if (text.length > 255 || !repositoryPattern.test(full)) {
    throw new Error(
      `not a repository: ${JSON.stringify(text.slice(0, 100))} (expected such as stagex/core-musl)`,
    );
  }
  return full as Repository;
}

/** The repository without its host, `stagex/core-musl`: how the lookaside names its folders. */
export function repositoryPath(repository: Repository): string {
  return repository.slice(repository.indexOf("/") + 1);
}

/** Throws where the tag is missing: a signature is for one tag of a repository, never for whatever it is called. */
export function parseTaggedReference(text: string): TaggedReference {
  const colon = text.lastIndexOf(":");
  const tag = text.slice(colon + 1);
  if (colon < 0 || !tagPattern.test(tag)) {
    throw new Error(
      `no tag in ${JSON.stringify(text.slice(0, 100))} (expected such as stagex/core-musl:1.2.5)`,
    );
  }
  return `${parseRepository(text.slice(0, colon))}:${tag}` as TaggedReference;
}

/** Reads `REPO:TAG@sha256:…`. */
export function parsePinnedImage(text: string): PinnedImage {
  const at = text.indexOf("@");
  if (at < 0) {
    throw new Error(
      `no digest in ${JSON.stringify(text.slice(0, 200))} (expected REPOSITORY:TAG@sha256:…, the digest of the manifest)`,
    );
  }
  return { reference: parseTaggedReference(text.slice(0, at)), digest: parseDigest(text.slice(at + 1)) };
}

/** The repository that a tagged reference is in. */
export function repositoryOf(reference: TaggedReference): Repository {
  return reference.slice(0, reference.lastIndexOf(":")) as Repository;
}
