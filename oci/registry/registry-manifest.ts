import { z } from "zod";
import { type Document, documentOf, mediaTypes } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import type { RegistryClient, RequestOptions } from "./registry-client.ts";
import { registryError } from "./registry-error.ts";

/**
 * Pulls a manifest or index by its digest, and verifies its bytes.
 * @param repository with the registry's host
 * @throws RegistryError
 */
export async function pullManifest(
  client: RegistryClient,
  repository: string,
  digest: Digest,
  options: RequestOptions = {},
): Promise<Document> {
  const reference = `${repository}@${digest}`;
  const found = await pull(client, reference, options);
  if (found.digest !== digest)
    throw registryError("wrong-bytes", `pulling ${reference}`, `it gave ${found.digest}`);
  return found;
}

/**
 * Pulls the manifest or index that a tag names now.
 * @param repository with the registry's host
 * @throws RegistryError
 */
export async function pullTag(
  client: RegistryClient,
  repository: string,
  tag: string,
  options: RequestOptions = {},
): Promise<Document> {
  const reference = `${repository}:${tag}`;
  const found = await pull(client, reference, options);
  if (isManifest(found.bytes)) return found;
  const reason = "what it answers is neither a manifest nor an index";
  throw registryError("not-a-registry", `pulling ${reference}`, reason);
}

async function pull(client: RegistryClient, reference: string, options: RequestOptions): Promise<Document> {
  const bytes = await client.read(["manifest", reference], { ...options, action: `pulling ${reference}` });
  return documentOf(mediaTypes.manifest, bytes);
}

const manifestShape = z.object({ schemaVersion: z.number() });
const indexShape = z.object({ manifests: z.array(z.unknown()) });

/**
 * Returns whether a document is an index and not a manifest. It may leave its media type out
 * (image-index.md), but never its manifests.
 */
export function isIndex(bytes: Buffer): boolean {
  return isJsonOf(indexShape, bytes);
}

/**
 * Accepts any kind, Docker's and artifacts' too: nothing that it names is read before its digest is
 * the right one.
 */
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
