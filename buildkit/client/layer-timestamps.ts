import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import type { Digest } from "../../oci/digest.ts";

/** The time that every build pretends it is, in seconds: SOURCE_DATE_EPOCH. */
export const sourceDateEpoch = 1;

/** Reads a layer, packed as BuildKit packs it (gzip), and throws where it is not as it should be. */
export type LayerCheck = (packed: AsyncIterable<Uint8Array>, signal?: AbortSignal) => Promise<void>;

/**
 * The check that every entry of a layer carries a time of at most {@link sourceDateEpoch}. When BuildKit fails to rewrite a layer's times it
 * only warns in its own log, and the image would have another digest each time.
 */
export function layerTimestampCheck(layer: Digest): LayerCheck {
  return async (packed, signal) => {
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
      packed,
      createGunzip({ chunkSize: 1 << 20 }),
      entries,
      signal === undefined ? {} : { signal },
    );
  };
}
