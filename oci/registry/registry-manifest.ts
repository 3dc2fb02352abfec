import { Writable } from "node:stream";
import { z } from "zod";
import { jsonLimit } from "../blob.ts";
import { type Document, documentOf } from "../buildkit-index.ts";
import type { Digest } from "../digest.ts";
import { mediaTypes } from "../image.ts";
import type { RegistryClient, RetryOptions } from "./registry-client.ts";
import { registryError } from "./registry-error.ts";

/**
 * Reads a manifest or index from a registry, and compares its bytes with the digest that it was asked for by.
 * @param repository with the registry's host
 * @throws RegistryError
 */
export async function pullManifest(
  client: RegistryClient,
  repository: string,
  digest: Digest,
  signal?: AbortSignal,
  endurance: RetryOptions = {},
): Promise<Document> {
  const reference = `${repository}@${digest}`;
  const found = await manifestBehind(client, reference, signal, endurance);
  if (found.digest !== digest)
    throw registryError("wrong-bytes", `pulling ${reference}`, `it gave ${found.digest}`);
  return found;
}

/**
 * Reads what a tag points at now.
 * @throws RegistryError
 */
export async function pullTag(
  client: RegistryClient,
  repository: string,
  tag: string,
  signal?: AbortSignal,
  endurance: RetryOptions = {},
): Promise<Document> {
  const reference = `${repository}:${tag}`;
  const found = await manifestBehind(client, reference, signal, endurance);
  if (isManifest(found.bytes)) return found;
  const reason = "what it answers is neither a manifest nor an index";
  throw registryError("not-a-registry", `pulling ${reference}`, reason);
}

async function manifestBehind(
  client: RegistryClient,
  reference: string,
  signal: AbortSignal | undefined,
  endurance: RetryOptions,
): Promise<Document> {
  const answer = new OutputBuffer();
  await client.run(["manifest", reference], {
    ...endurance,
    action: `pulling ${reference}`,
    openOutput: () => answer.restart(),
    limit: jsonLimit,
    signal,
  });
  return documentOf(mediaTypes.manifest, answer.bytes());
}

const manifestShape = z.object({ schemaVersion: z.number() });
const indexShape = z.object({ manifests: z.array(z.unknown()) });

/** Whether it is an index rather than a manifest: it may leave its media type out (image-index.md), but never its manifests. */
export function isIndex(bytes: Buffer): boolean {
  return isJsonOf(indexShape, bytes);
}

/** Of any kind: Docker's and artifacts' as well. What it names is asked of nobody until its digest is the right one. */
function isManifest(bytes: Buffer): boolean {
  return isJsonOf(manifestShape, bytes);
}

function isJsonOf(shape: z.ZodType, bytes: Buffer): boolean {
  try {
    return shape.safeParse(JSON.parse(bytes.toString("utf8"))).success;
  } catch {
    return false;
  }
}

/** What a command prints, in memory. */
export class OutputBuffer {
  #chunks: Buffer[] = [];

  /** A stream to print to; what was printed before is forgotten. */
  restart(): Writable {
    const chunks: Buffer[] = [];
    this.#chunks = chunks;
    return new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(chunk);
        done();
      },
    });
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}
