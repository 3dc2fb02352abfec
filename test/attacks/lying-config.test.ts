import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { digestOf, hexOf } from "../../oci/digest.ts";
import { LayerHasher } from "../../oci/layer-hasher.ts";
import { imageInLayout, listManifests, verifyManifest } from "../../oci/registry/image-source.ts";
import { type LayoutRecipe, writeLayout } from "../support/builders/image-layout.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

const files = [[{ name: "bin/one", content: "one" }], [{ name: "bin/two", content: "two" }]];

/** Writes an image of two layers, with a config that this function changes. */
async function image(change: LayoutRecipe["change"] = {}) {
  return await writeLayout(join(await scratchFolder(), "image"), {
    platforms: { "linux/amd64": { layers: files } },
    change,
  });
}

async function read(folder: string): Promise<unknown> {
  const place = imageInLayout(folder);
  const [manifest] = await listManifests(place);
  if (!manifest) throw new Error("no manifest");
  return await verifyManifest(place, manifest);
}

/** The config with other diff_ids, as somebody who wants scanners to see another image would write it. */
function saying(change: (ids: string[]) => string[]): NonNullable<LayoutRecipe["change"]> {
  return {
    config: (config) => {
      const { diff_ids: ids } = config.rootfs as { diff_ids: string[] };
      return { ...config, rootfs: { type: "layers", diff_ids: change(ids) } };
    },
  };
}

test("accepts an image with a true config", async () => {
  expect(await read((await image()).folder)).toMatchObject({ blobs: 4 });
});

test.each<[string, (ids: string[]) => string[]]>([
  ["another layer's", ([one = ""]) => [one, digestOf("harmless")]],
  ["the layers', exchanged", ([one = "", two = ""]) => [two, one]],
  ["the same twice", ([one = ""]) => [one, one]],
])("refuses an image with diff_ids that are %s", async (_, change) => {
  await expect(read((await image(saying(change))).folder)).rejects.toThrow(/rootfs\.diff_ids/);
});

test("refuses one layer with two diff_ids, of which one is true", async () => {
  const { folder } = await writeLayout(join(await scratchFolder(), "image"), {
    platforms: { "linux/amd64": { layers: [files[0] ?? [], files[0] ?? []] } },
    change: saying(([one = ""]) => [digestOf("harmless"), one]),
  });
  await expect(read(folder)).rejects.toThrow(/rootfs\.diff_ids/);
});

test("unpacks a layer on its way, whatever the size of its chunks", async () => {
  const { folder, layers, configs } = await image();
  const config = JSON.parse(
    await readFile(join(folder, "blobs/sha256", hexOf(configs[0] ?? digestOf(""))), "utf8"),
  );
  for (const highWaterMark of [1, 7, 65_536]) {
    for (const [number, digest] of layers.entries()) {
      const path = join(folder, "blobs/sha256", hexOf(digest));
      const size = (await readFile(path)).length;
      const hashing = new LayerHasher({
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        digest,
        size,
      });
      await pipeline(createReadStream(path, { highWaterMark }), hashing.restart());
      expect(hashing.packed()).toBe(digest);
      expect(hashing.unpacked()).toEqual({ digest: config.rootfs.diff_ids[number] });
    }
  }
});

test("stops unpacking an endless layer, reports one that is no archive, and hashes both", async () => {
  const bomb = zstdCompressSync(Buffer.alloc(256 * 1024 * 1024));
  const cases: [Buffer, RegExp][] = [
    [bomb, /^more than \d+ bytes come out of it$/],
    [Buffer.alloc(1_000_000, "not an archive"), /./],
  ];
  for (const [bytes, trouble] of cases) {
    const layer = {
      mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
      digest: digestOf(bytes),
      size: bytes.length,
    };
    const hashing = new LayerHasher(layer);
    await pipeline(Readable.from([bytes.subarray(0, 100), bytes.subarray(100)]), hashing.restart());
    expect(hashing.packed()).toBe(layer.digest);
    expect(hashing.unpacked()).toEqual({ reason: expect.stringMatching(trouble) });
  }
});
