import { z } from "zod";
import { jsonLimit } from "../blob.ts";
import type { Digest } from "../digest.ts";
import type { ClientCommand, RegistryClient } from "./registry-client.ts";
import { OutputBuffer } from "./registry-manifest.ts";

/** A line that the registry client prints of a blob, of the last answer where one server has led to another. */
const answerSchema = z.strictObject({
  digest: z.string(),
  isThere: z.boolean(),
  /** Null where the registry doesn't tell. */
  size: z.int().nullable(),
  contentType: z.string(),
});

/** What a registry answers to the question for a blob. */
export type BlobStat = z.infer<typeof answerSchema>;

/** How many blobs one command asks for: a slow registry's answers to them still fit into its time. */
const atOnce = 64;

/**
 * Asks a registry which of these blobs a repository has, and how long they are.
 * @param repository with the registry's host
 * @returns an answer of each
 * @throws RegistryError where the registry can't tell
 */
export async function statBlobs(
  client: RegistryClient,
  repository: string,
  digests: readonly Digest[],
  run: Omit<ClientCommand, "openOutput" | "limit">,
): Promise<ReadonlyMap<Digest, BlobStat>> {
  const answers = new Map<Digest, BlobStat>();
  for (let first = 0; first < digests.length; first += atOnce) {
    const asked = digests.slice(first, first + atOnce);
    const printed = new OutputBuffer();
    const to = () => printed.restart();
    await client.run(["stat", `${repository}@${asked[0]}`, ...asked], {
      ...run,
      openOutput: to,
      limit: jsonLimit,
    });
    const lines = printed.bytes().toString("utf8").trimEnd().split("\n");
    const given = new Map(
      lines.map((line) => answerSchema.parse(JSON.parse(line))).map((one) => [one.digest, one]),
    );
    for (const digest of asked) {
      const answer = given.get(digest);
      if (answer === undefined)
        throw new Error(`the registry client has not asked ${repository} for ${digest}`);
      answers.set(digest, answer);
    }
  }
  return answers;
}
