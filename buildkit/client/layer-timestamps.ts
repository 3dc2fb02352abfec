import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import type { Digest } from "../../oci/digest.ts";

/** The SOURCE_DATE_EPOCH of every build, in seconds. */
export const sourceDateEpoch = 1;

/** Reads a layer, compressed as BuildKit does it (gzip), and throws where it is wrong. */
export type LayerCheck = (packed: AsyncIterable<Uint8Array>, signal?: AbortSignal) => Promise<void>;

/**
 * Returns the check that every entry of a layer has a time of at most {@link sourceDateEpoch}.
 * Where BuildKit fails to rewrite a layer's times it only warns in its own log, and the image has
 * another digest each time.
 */
export function layerTimestampCheck(layer: Digest): LayerCheck {
  return async (packed, signal) => {
    const entries = extract();
    entries.on("entry", (header, body, next) => {
      const time = (header.mtime?.getTime() ?? 0) / 1000;
      body.on("end", next);
      // The entry gets every error of the whole pipeline, which throws it below.
      body.on("error", () => {});
      if (time <= sourceDateEpoch) return void body.resume();
      entries.destroy(
        new Error(
          `BuildKit did not rewrite the times in layer ${layer}: ${JSON.stringify(header.name)} has the time ${header.mtime?.toISOString()}. The reason is in the daemon's log ("failed to rewrite layer"); build it again.`,
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
