import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkLayerTimes } from "../../../buildkit/layer-times.ts";
import { type Digest, digestOf, hexOf } from "../../../oci/digest.ts";

let layout: string;

beforeEach(async () => {
  layout = await mkdtemp(join(tmpdir(), "stagex-unit-"));
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true });
});

afterEach(async () => {
  await rm(layout, { recursive: true, force: true });
});

async function put(bytes: Buffer | string): Promise<Digest> {
  const digest = digestOf(bytes);
  await writeFile(join(layout, "blobs", "sha256", hexOf(digest)), bytes);
  return digest;
}

/** A layer with a file of each of these times, in seconds. */
async function layer(...times: number[]): Promise<Buffer> {
  const tar = pack();
  for (const time of times)
    tar.entry({ name: `file-${time}`, mtime: new Date(time * 1000) }, "content".repeat(1000));
  tar.finalize();
  return gzipSync(await buffer(tar));
}

/** Writes an index of an index of one manifest with these layers, as BuildKit does. */
async function image(...layers: Buffer[]): Promise<Digest[]> {
  const digests = await Promise.all(layers.map(put));
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  const manifest = await put(JSON.stringify({ layers: digests.map((digest) => ({ digest, mediaType })) }));
  const inner = {
    manifests: [{ digest: manifest, mediaType: "application/vnd.oci.image.manifest.v1+json" }],
  };
  const index = await put(JSON.stringify(inner));
  const outer = { manifests: [{ digest: index, mediaType: "application/vnd.oci.image.index.v1+json" }] };
  await writeFile(join(layout, "index.json"), JSON.stringify(outer));
  return digests;
}

test("times of 0 and 1 are fine", async () => {
  await image(await layer(1, 0, 1), await layer());
  await checkLayerTimes(layout, new Set());
});

test("one later time in one layer is an error that names both", async () => {
  const [, second] = await image(await layer(1), await layer(1, 2, 1));
  await expect(checkLayerTimes(layout, new Set())).rejects.toThrow(
    new RegExp(`layer ${second}: "file-2" is of 1970-01-01T00:00:02.000Z`),
  );
});

test("a layer that was checked when it was made is not read again", async () => {
  const [first] = await image(await layer(2));
  await checkLayerTimes(layout, new Set(first ? [first] : []));
});

test("a layer that ends too early is an error", async () => {
  const whole = await layer(1, 1);
  await image(whole.subarray(0, whole.length - 20));
  await expect(checkLayerTimes(layout, new Set())).rejects.toThrow();
});
