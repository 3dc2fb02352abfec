import { jsonLimit } from "../blob.ts";
import type { Descriptor } from "../descriptor.ts";
import type { Digest } from "../digest.ts";
import { parseIndex, parseManifest } from "../image-documents.ts";
import { statBlobs } from "./registry-blobs.ts";
import type { RegistryClient, RequestOptions } from "./registry-client.ts";
import { RegistryError, registryError } from "./registry-error.ts";
import { isIndex, pullManifest } from "./registry-manifest.ts";

/** A document or blob of an image that a registry lacks, or has with other bytes. */
export type RegistryDamage = {
  readonly digest: Digest;
  readonly problem: "missing" | "wrong-size" | "wrong-bytes";
  /** Names the blob and its repository, and the problem. */
  readonly message: string;
};

/** An image's blobs, each once. */
type Blobs = {
  readonly configs: ReadonlyMap<Digest, Descriptor>;
  readonly layers: ReadonlyMap<Digest, Descriptor>;
};

/**
 * Finds what a registry lacks of the image with this manifest or index. Its documents are read and
 * hashed; of its layers the registry is asked whether they are there, and their sizes.
 * @param repository with the registry's host
 * @returns an empty list where nothing is wrong
 * @throws RegistryError where the registry does not answer
 */
export async function auditRegistryImage(
  client: RegistryClient,
  repository: string,
  digest: Digest,
  options: RequestOptions = {},
): Promise<readonly RegistryDamage[]> {
  const read = async (document: Digest): Promise<Buffer | RegistryDamage> => {
    try {
      return (await pullManifest(client, repository, document, options)).bytes;
    } catch (error) {
      const damage = asDamage(error, document);
      if (damage === undefined) throw error;
      return damage;
    }
  };
  const top = await read(digest);
  if (!Buffer.isBuffer(top)) return [top];
  const entries = isIndex(top) ? parseIndex(top, `${repository}@${digest}`, digest) : [{ digest }];
  const damages: RegistryDamage[] = [];
  const configs = new Map<Digest, Descriptor>();
  const layers = new Map<Digest, Descriptor>();
  for (const entry of entries) {
    const bytes = entry.digest === digest ? top : await read(entry.digest);
    if (!Buffer.isBuffer(bytes)) {
      damages.push(bytes);
      continue;
    }
    const manifest = parseManifest(bytes, `${repository}@${entry.digest}`, entry.digest);
    configs.set(manifest.config.digest, manifest.config);
    for (const layer of manifest.layers) layers.set(layer.digest, layer);
  }
  if (damages.length > 0) return damages;
  return await auditBlobs(client, repository, { configs, layers }, options);
}

/** Reads and hashes the configs; for the layers it accepts the registry's answer. */
async function auditBlobs(
  client: RegistryClient,
  repository: string,
  { configs, layers }: Blobs,
  options: RequestOptions,
): Promise<readonly RegistryDamage[]> {
  const damages: RegistryDamage[] = [];
  for (const config of configs.values()) {
    const damage = await auditConfig(client, repository, config, options);
    if (damage !== undefined) damages.push(damage);
  }
  damages.push(...(await auditLayers(client, repository, [...layers.values()], options)));
  return damages;
}

async function auditConfig(
  client: RegistryClient,
  repository: string,
  { digest, size }: Descriptor,
  options: RequestOptions,
): Promise<RegistryDamage | undefined> {
  const reference = `${repository}@${digest}`;
  const limit = Math.min(size, jsonLimit);
  try {
    await client.read(["blob", reference], { ...options, action: `pulling the blob ${reference}`, limit });
    return undefined;
  } catch (error) {
    if (error instanceof RegistryError && error.problem === "absent") return missing(repository, digest);
    throw error;
  }
}

async function auditLayers(
  client: RegistryClient,
  repository: string,
  layers: readonly Descriptor[],
  options: RequestOptions,
): Promise<readonly RegistryDamage[]> {
  const action = `looking for the blobs of ${repository}`;
  const digests = layers.map(({ digest }) => digest);
  const stats = await statBlobs(client, repository, digests, { ...options, action });
  const damages: RegistryDamage[] = [];
  for (const { digest, size } of layers) {
    const stat = stats.get(digest);
    if (!stat?.isThere) damages.push(missing(repository, digest));
    else if (/^text\/html\b/i.test(stat.contentType)) {
      const at = `looking for the blob ${repository}@${digest}`;
      throw registryError("not-a-registry", at, `it answers with a web page (${stat.contentType})`);
    } else if ((stat.size ?? size) !== size) {
      const message = `${repository} has the blob ${digest} with ${stat.size} bytes instead of ${size}`;
      damages.push({ digest, problem: "wrong-size", message });
    }
  }
  return damages;
}

function missing(repository: string, digest: Digest): RegistryDamage {
  return { digest, problem: "missing", message: `${repository} lacks the blob ${digest}` };
}

function asDamage(error: unknown, digest: Digest): RegistryDamage | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  if (error.problem === "absent") return { digest, problem: "missing", message: error.message };
  if (error.problem === "wrong-bytes") return { digest, problem: "wrong-bytes", message: error.message };
  return undefined;
}
