import { z } from "zod";
import type { Digest } from "../digest.ts";
import type { RegistryClient, RequestOptions } from "./registry-client.ts";

/**
 * A line that the registry client prints about a blob, from the last answer where there were
 * redirects.
 */
const blobStatSchema = z.strictObject({
  digest: z.string(),
  isThere: z.boolean(),
  /** Null where the registry doesn't name it. */
  size: z.int().nullable(),
  contentType: z.string(),
});

/** A registry's answer to a HEAD request for a blob. */
export type BlobStat = z.infer<typeof blobStatSchema>;

/** Blobs of one command: a slow registry's answers to them still fit into its time. */
const blobsAtOnce = 64;

/**
 * Asks a registry which of these blobs a repository has, and their sizes.
 * @param repository with the registry's host
 * @param options.action begins an error's message
 * @returns an answer for each
 * @throws RegistryError
 */
export async function statBlobs(
  client: RegistryClient,
  repository: string,
  digests: readonly Digest[],
  options: RequestOptions & { readonly action: string },
): Promise<ReadonlyMap<Digest, BlobStat>> {
  const stats = new Map<Digest, BlobStat>();
  for (let first = 0; first < digests.length; first += blobsAtOnce) {
    const asked = digests.slice(first, first + blobsAtOnce);
    const output = await client.read(["stat", `${repository}@${asked[0]}`, ...asked], options);
    const lines = output.toString("utf8").trimEnd().split("\n");
    const found = new Map(
      lines.map((line) => blobStatSchema.parse(JSON.parse(line))).map((stat) => [stat.digest, stat]),
    );
    for (const digest of asked) {
      const stat = found.get(digest);
      if (stat === undefined)
        throw new Error(`the registry client has not asked ${repository} for ${digest}`);
      stats.set(digest, stat);
    }
  }
  return stats;
}
