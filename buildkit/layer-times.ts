import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { z } from "zod";
import { type Digest, hexOf, parseDigest } from "../oci/digest.ts";

/** The time that every build pretends it is, in seconds: SOURCE_DATE_EPOCH. */
export const sourceDateEpoch = 1;

const digest = z.string().transform(parseDigest);
const indexSchema = z.object({ manifests: z.array(z.object({ digest, mediaType: z.string() })) });
const manifestSchema = z.object({ layers: z.array(z.object({ digest, mediaType: z.string() })) });

/**
 * Throws unless every entry of every layer in the layout carries a time of at most {@link sourceDateEpoch}. When BuildKit fails to rewrite a
 * layer's times it only warns in its own log, and the image would have another digest each time. Layers in `known` were
 * checked when they were made.
 */
export async function checkLayerTimes(
  layout: string,
  known: ReadonlySet<Digest>,
  signal?: AbortSignal,
): Promise<void> {
  const layers = new Set(await layersBelow(layout, join(layout, "index.json")));
  for (const layer of layers) if (!known.has(layer)) await checkLayer(layout, layer, signal);
}

async function layersBelow(layout: string, indexFile: string): Promise<Digest[]> {
  const { manifests } = indexSchema.parse(JSON.parse(await readFile(indexFile, "utf8")));
  const found = await Promise.all(
    manifests.map(async ({ digest, mediaType }) => {
      const file = blobFile(layout, digest);
      if (mediaType.includes("index")) return await layersBelow(layout, file);
      return manifestSchema
        .parse(JSON.parse(await readFile(file, "utf8")))
        .layers.map((layer) => layer.digest);
    }),
  );
  return found.flat();
}

async function checkLayer(layout: string, layer: Digest, signal: AbortSignal | undefined): Promise<void> {
  const entries = extract();
  entries.on("entry", (header, body, next) => {
    const time = (header.mtime?.getTime() ?? 0) / 1000;
    body.on("end", next);
    // It is told of every error that ends the whole, which is thrown below.
    body.on("error", () => {});
    if (time <= sourceDateEpoch) return void body.resume();
    entries.destroy(
      new Error(
        `BuildKit did not rewrite the times in layer ${layer}: ${JSON.stringify(header.name)} is of ${header.mtime?.toISOString()}. The reason is in the daemon's log ("failed to rewrite layer"); build it again.`,
      ),
    );
  });
  await pipeline(
    createReadStream(blobFile(layout, layer), { highWaterMark: 1 << 20 }),
    createGunzip({ chunkSize: 1 << 20 }),
    entries,
    signal === undefined ? {} : { signal },
  );
}

function blobFile(layout: string, digest: Digest): string {
  return join(layout, "blobs", "sha256", hexOf(digest));
}
