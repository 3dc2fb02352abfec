import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Writable } from "node:stream";
import pLimit from "p-limit";
import { jsonLimit } from "../blob.ts";
import { documentOf } from "../buildkit-index.ts";
import { type Digest, hexOf, parseDigest } from "../digest.ts";
import { mediaTypes } from "../image.ts";
import { withArtifactFolder } from "./artifact-folder.ts";
import type { RegistryAddress } from "./registry-address.ts";
import { statBlobs } from "./registry-blobs.ts";
import type { RegistryClient } from "./registry-client.ts";
import { RegistryError } from "./registry-error.ts";
import { OutputBuffer, pullTag } from "./registry-manifest.ts";

/** A source as a registry has it: its sha256, 64 hex digits, and its size. */
type Held = { readonly sha256: string; readonly size: number };

/** A file to push, and the name under which people know it. */
export type SourceFile = Held & { readonly name: string; readonly path: string };

/** What artifacts of sources are, by which clients find them. */
export const sourceArtifactType = "application/vnd.stagex.source.v1";

/** The config of what has none (OCI image-spec, manifest.md, "Guidance for an Empty Descriptor"). */
const empty = documentOf("application/vnd.oci.empty.v1+json", Buffer.from("{}"));

/** How many tags are asked for at once. */
const tagsAtOnce = 4;

/**
 * A repository of an OCI registry that holds sources, each an artifact of its own: the source is the artifact's one layer as it is, so a
 * blob's digest is the source's sha256 and one request gets it. The tag `source-<sha256>` keeps registries from collecting it.
 */
export class SourceRepository {
  readonly #repository: RegistryAddress;
  readonly #client: RegistryClient;

  constructor(repository: RegistryAddress, client: RegistryClient) {
    this.#repository = repository;
    this.#client = client;
  }

  /**
   * Finds out which of these blobs the repository has, and their sizes where it tells.
   * @throws RegistryError
   */
  async findSizes(
    hashes: readonly string[],
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, number | null>> {
    const doing = `looking for sources in ${this.#repository}`;
    const answers = await statBlobs(this.#client, this.#repository, hashes.map(digestOf), {
      action: doing,
      signal,
    });
    const found = [...answers].filter(([, { isThere }]) => isThere);
    return new Map(found.map(([digest, { size }]) => [hexOf(digest), size]));
  }

  /**
   * Reads a source's bytes; the caller hashes them.
   * @param to receives them, asked for anew at each try
   * @throws RegistryError
   */
  async read({ sha256, size }: Held, to: () => Writable, signal?: AbortSignal): Promise<void> {
    const reference = `${this.#repository}@${digestOf(sha256)}`;
    await this.#client.run(["blob", reference], {
      action: `pulling the source ${reference}`,
      openOutput: to,
      limit: size,
      size,
      signal,
    });
  }

  /**
   * Finds those that the repository lacks: the blob, or the tag that keeps it.
   * @throws RegistryError
   */
  async findMissing(files: readonly Held[], signal?: AbortSignal): Promise<ReadonlySet<string>> {
    const sizes = await this.findSizes(
      files.map(({ sha256 }) => sha256),
      signal,
    );
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
   * Pushes a source under its tag. The artifact carries the time, so that a registry that has lost a blob below a manifest that it still
   * has is sent both again.
   * @param scratch a folder is made below it, on the file system of the source, and removed
   * @throws RegistryError
   */
  async push({ sha256, name, path, size }: SourceFile, scratch: string, signal?: AbortSignal): Promise<void> {
    const folder = join(scratch, `layout-${randomUUID()}`);
    const manifest = documentOf(
      mediaTypes.manifest,
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.manifest,
          artifactType: sourceArtifactType,
          config: { mediaType: empty.mediaType, digest: empty.digest, size: empty.size },
          layers: [
            {
              mediaType: "application/octet-stream",
              digest: digestOf(sha256),
              size,
              annotations: { "org.opencontainers.image.title": name },
            },
          ],
          annotations: { "org.opencontainers.image.created": new Date().toISOString() },
        }),
      ),
    );
    const reference = `${this.#repository}:${tagOf(sha256)}`;
    const artifact = { manifest, blobs: [empty], files: new Map([[digestOf(sha256), path]]) };
    await withArtifactFolder(folder, artifact, async () => {
      const printed = new OutputBuffer();
      await this.#client.run(["push", folder, reference], {
        action: `pushing the source ${name} as ${reference}`,
        openOutput: () => printed.restart(),
        limit: jsonLimit,
        size,
        signal,
      });
    });
  }

  async #isTagged(sha256: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await pullTag(this.#client, this.#repository, tagOf(sha256), signal);
      return true;
    } catch (error) {
      if (error instanceof RegistryError && error.problem === "absent") return false;
      throw error;
    }
  }
}

function digestOf(sha256: string): Digest {
  return parseDigest(`sha256:${sha256}`);
}

function tagOf(sha256: string): string {
  return `source-${sha256}`;
}
