import { jsonLimit } from "../blob.ts";
import type { Digest } from "../digest.ts";
import { type Descriptor, parseIndex, parseManifest } from "../image.ts";
import { statBlobs } from "./registry-blobs.ts";
import type { ClientCommand, RegistryClient, RetryOptions } from "./registry-client.ts";
import { RegistryError, registryError } from "./registry-error.ts";
import { isIndex, OutputBuffer, pullManifest } from "./registry-manifest.ts";

/** One document or blob of an image that a registry does not have as it should. */
export type RegistryDamage = {
  readonly digest: Digest;
  readonly problem: "missing" | "wrong-size" | "wrong-bytes";
  /** Says which one, of which repository, and what is wrong with it. */
  readonly message: string;
};

type AuditRun = Pick<ClientCommand, "signal"> & RetryOptions;

/** An image's blobs, each once. */
type Blobs = {
  readonly configs: ReadonlyMap<Digest, Descriptor>;
  readonly layers: ReadonlyMap<Digest, Descriptor>;
};

/**
 * What a registry lacks of the image with this manifest or index: its documents are read and hashed, of each layer is asked whether
 * it is there, and how long. Empty where nothing is wrong.
 * @param repository with the registry's host
 * @throws RegistryError where the registry can't tell
 */
export async function auditRegistryImage(
  client: RegistryClient,
  repository: string,
  digest: Digest,
  run: AuditRun = {},
): Promise<readonly RegistryDamage[]> {
  const read = async (document: Digest): Promise<Buffer | RegistryDamage> => {
    try {
      return (await pullManifest(client, repository, document, run.signal, run)).bytes;
    } catch (error) {
      const damage = damageOf(error, document);
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
  return await auditBlobs(client, repository, { configs, layers }, run);
}

/** The config is read and hashed like the documents; of the layers only the registry's word is taken. */
async function auditBlobs(
  client: RegistryClient,
  repository: string,
  { configs, layers }: Blobs,
  run: AuditRun,
): Promise<readonly RegistryDamage[]> {
  const damages: RegistryDamage[] = [];
  for (const config of configs.values()) {
    const damage = await readConfig(client, repository, config, run);
    if (damage !== undefined) damages.push(damage);
  }
  damages.push(...(await auditLayers(client, repository, [...layers.values()], run)));
  return damages;
}

async function readConfig(
  client: RegistryClient,
  repository: string,
  { digest, size }: Descriptor,
  run: AuditRun,
): Promise<RegistryDamage | undefined> {
  const reference = `${repository}@${digest}`;
  try {
    const to = () => new OutputBuffer().restart();
    const doing = `pulling the blob ${reference}`;
    await client.run(["blob", reference], {
      ...run,
      action: doing,
      openOutput: to,
      limit: Math.min(size, jsonLimit),
    });
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
  run: AuditRun,
): Promise<readonly RegistryDamage[]> {
  const doing = `looking for the blobs of ${repository}`;
  const digests = layers.map(({ digest }) => digest);
  const answers = await statBlobs(client, repository, digests, { ...run, action: doing });
  const damages: RegistryDamage[] = [];
  for (const { digest, size } of layers) {
    const answer = answers.get(digest);
    if (!answer?.isThere) damages.push(missing(repository, digest));
    else if (/^text\/html\b/i.test(answer.contentType)) {
      const at = `looking for the blob ${repository}@${digest}`;
      throw registryError("not-a-registry", at, `it answers with a web page (${answer.contentType})`);
    } else if ((answer.size ?? size) !== size) {
      const message = `${repository} has the blob ${digest} with ${answer.size} bytes instead of ${size}`;
      damages.push({ digest, problem: "wrong-size", message });
    }
  }
  return damages;
}

function missing(repository: string, digest: Digest): RegistryDamage {
  return { digest, problem: "missing", message: `${repository} lacks the blob ${digest}` };
}

function damageOf(error: unknown, digest: Digest): RegistryDamage | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  if (error.problem === "absent") return { digest, problem: "missing", message: error.message };
  if (error.problem === "wrong-bytes") return { digest, problem: "wrong-bytes", message: error.message };
  return undefined;
}
