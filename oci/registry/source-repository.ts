import type { Writable } from "node:stream";
import pLimit from "p-limit";
import { type Document, descriptorOf, documentOf, emptyConfig, mediaTypes } from "../descriptor.ts";
import { type Digest, hexOf, parseDigest } from "../digest.ts";
import { withArtifactFolder } from "./artifact-folder.ts";
import type { RegistryAddress } from "./registry-address.ts";
import { statBlobs } from "./registry-blobs.ts";
import type { RegistryClient } from "./registry-client.ts";
import { RegistryError } from "./registry-error.ts";
import { pullTag } from "./registry-manifest.ts";

/** A source as a registry keeps it: its sha256, 64 hex digits, and its size in bytes. */
type HeldSource = { readonly sha256: string; readonly size: number };

/** A file to push, and the name under which people know it. */
export type SourceFile = HeldSource & { readonly name: string; readonly path: string };

/** The type of artifacts with sources, by which clients find them. */
export const sourceArtifactType = "application/vnd.stagex.source.v1";

/** The number of tags that are looked up at once. */
const tagsAtOnce = 4;

/**
 * A repository of an OCI registry that holds sources, each an artifact of its own. The source is
 * the artifact's one layer as it is, so the blob's digest is the source's sha256 and one request
 * gets it. The tag `source-<sha256>` keeps registries from collecting it as garbage.
 */
export class SourceRepository {
  readonly #repository: RegistryAddress;
  readonly #client: RegistryClient;

  constructor(repository: RegistryAddress, client: RegistryClient) {
    this.#repository = repository;
    this.#client = client;
  }

  /**
   * Finds which of these blobs the repository has, and their sizes, null where it doesn't name one.
   * @throws RegistryError
   */
  async findSizes(
    hashes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, number | null>> {
    const action = `looking for sources in ${this.#repository}`;
    const stats = await statBlobs(this.#client, this.#repository, hashes.map(digestOf), { action, signal });
    const found = [...stats].filter(([, { isThere }]) => isThere);
    return new Map(found.map(([digest, { size }]) => [hexOf(digest), size]));
  }

  /**
   * Reads a source's bytes; the caller hashes them.
   * @param openOutput opens a stream for them, at each try
   * @throws RegistryError
   */
  async read({ sha256, size }: HeldSource, openOutput: () => Writable, signal?: AbortSignal): Promise<void> {
    const reference = `${this.#repository}@${digestOf(sha256)}`;
    const action = `pulling the source ${reference}`;
    await this.#client.run(["blob", reference], { action, openOutput, limit: size, size, signal });
  }

  /**
   * Finds the sources of which the repository lacks the blob, or the tag that keeps it.
   * @throws RegistryError
   */
  async findMissing(files: readonly HeldSource[], signal?: AbortSignal): Promise<ReadonlySet<string>> {
    const hashes = files.map(({ sha256 }) => sha256);
    const sizes = await this.findSizes(hashes, signal);
    const limit = pLimit(tagsAtOnce);
    const asked = files.map(({ sha256, size }) =>
      limit(async () => {
        if (!sizes.has(sha256) || (sizes.get(sha256) ?? size) !== size) return sha256;
        return (await this.#isTagged(sha256, signal)) ? null : sha256;
      }),
    );
    return new Set((await Promise.all(asked)).filter((sha256) => sha256 !== null));
  }

  /**
   * Pushes a source under its tag. The artifact has the time in it: a registry that has lost a blob
   * below a manifest that it still has gets a new manifest, and so both again.
   * @param scratch a folder is made below it, on the file system of the source, and removed
   * @throws RegistryError
   */
  async push(file: SourceFile, scratch: string, signal?: AbortSignal): Promise<void> {
    const { sha256, name, path, size } = file;
    const reference = `${this.#repository}:${tagOf(sha256)}`;
    const action = `pushing the source ${name} as ${reference}`;
    const files = new Map([[digestOf(sha256), path]]);
    const artifact = { manifest: manifestOf(file), blobs: [emptyConfig], files };
    await withArtifactFolder(scratch, artifact, async (folder) => {
      await this.#client.read(["push", folder, reference], { action, size, signal });
    });
  }

  async #isTagged(sha256: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await pullTag(this.#client, this.#repository, tagOf(sha256), { signal });
      return true;
    } catch (error) {
      if (error instanceof RegistryError && error.problem === "absent") return false;
      throw error;
    }
  }
}

function manifestOf({ sha256, name, size }: SourceFile): Document {
  const layer = {
    mediaType: "application/octet-stream",
    digest: digestOf(sha256),
    size,
    annotations: { "org.opencontainers.image.title": name },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: sourceArtifactType,
    config: descriptorOf(emptyConfig),
    layers: [layer],
    annotations: { "org.opencontainers.image.created": new Date().toISOString() },
  };
  return documentOf(mediaTypes.manifest, Buffer.from(JSON.stringify(manifest)));
}

function digestOf(sha256: string): Digest {
  return parseDigest(`sha256:${sha256}`);
}

function tagOf(sha256: string): string {
  return `source-${sha256}`;
}
