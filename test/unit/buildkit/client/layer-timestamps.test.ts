import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { expect, test } from "vitest";
import { layerTimestampCheck } from "../../../../buildkit/client/layer-timestamps.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";

/** Makes a layer with a file for each of these times, in seconds. */
async function layer(...times: number[]): Promise<{ bytes: Buffer; digest: Digest }> {
  const tar = pack();
  for (const time of times)
    tar.entry({ name: `file-${time}`, mtime: new Date(time * 1000) }, "content".repeat(1000));
  tar.finalize();
  const bytes = gzipSync(await buffer(tar));
  return { bytes, digest: digestOf(bytes) };
}

/** Yields the bytes in pieces, as from a file. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
}

test("accepts times of 0 and 1", async () => {
  for (const { bytes, digest } of [await layer(1, 0, 1), await layer()])
    await layerTimestampCheck(digest)(pieces(bytes));
});

test("rejects a later time, and names the layer and the file", async () => {
  const { bytes, digest } = await layer(1, 2, 1);
  await expect(layerTimestampCheck(digest)(pieces(bytes))).rejects.toThrow(
    new RegExp(`layer ${digest}: "file-2" has the time 1970-01-01T00:00:02.000Z`),
  );
});

test("rejects a truncated layer, and one that is not compressed with gzip", async () => {
  const { bytes, digest } = await layer(1, 1);
  await expect(layerTimestampCheck(digest)(pieces(bytes.subarray(0, bytes.length - 20)))).rejects.toThrow();
  await expect(layerTimestampCheck(digest)(pieces(Buffer.alloc(10240)))).rejects.toThrow();
});

test("ends when it is aborted", async () => {
  const { bytes, digest } = await layer(1);
  await expect(layerTimestampCheck(digest)(pieces(bytes), AbortSignal.abort())).rejects.toThrow("abort");
});
