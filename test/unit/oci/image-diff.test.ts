import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { compareManifests } from "../../../oci/image-diff.ts";
import { layoutBlobPath } from "../../../oci/layout.ts";
import { type LayerFile, type LayoutRecipe, writeLayout } from "../../support/builders/image-layout.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

const base: readonly LayerFile[] = [
  { name: "bin/", type: "directory", mode: 0o755 },
  { name: "bin/sh", content: "shell", mode: 0o755 },
  { name: "bin/ls", type: "symlink", linkname: "sh" },
  { name: "etc/motd", content: "welcome" },
];

async function written(folder: string, recipe: LayoutRecipe) {
  const layout = await writeLayout(folder, recipe);
  return {
    manifest: layout.manifests[0] ?? digestOf(""),
    blobPath: (digest: Digest) => layoutBlobPath(layout.folder, digest),
  };
}

async function compared(first: LayoutRecipe, second: LayoutRecipe) {
  const folder = await scratchFolder();
  return compareManifests(
    await written(join(folder, "first"), first),
    await written(join(folder, "second"), second),
  );
}

const image = (...layers: (readonly LayerFile[])[]): LayoutRecipe => ({
  platforms: { "linux/amd64": { layers } },
});

/** The base layer with one file changed. */
const changed = (name: string, change: Partial<LayerFile>) =>
  base.map((file) => (file.name === name ? { ...file, ...change } : file));

test("finds no difference between an image and itself", async () => {
  expect(await compared(image(base), image(base))).toBeNull();
});

const inFile: [string, readonly LayerFile[], string, string][] = [
  ["mode", changed("bin/sh", { mode: 0o4755 }), "bin/sh", "mode: 0755 and 4755"],
  ["owner", changed("bin/sh", { uid: 1, gid: 2 }), "bin/sh", "owner: 0:0 and 1:2"],
  ["owner's name", changed("bin/sh", { uname: "root" }), "bin/sh", "owner's name: : and root:"],
  [
    "mtime",
    changed("etc/motd", { mtime: new Date(5000) }),
    "etc/motd",
    "mtime: 1970-01-01T00:00:01.000Z and 1970-01-01T00:00:05.000Z",
  ],
  ["size", changed("etc/motd", { content: "welcome!" }), "etc/motd", "size: 7 and 8"],
  ["content", changed("etc/motd", { content: "welcOme" }), "etc/motd", "content differs from byte 4"],
  ["link", changed("bin/ls", { linkname: "ash" }), "bin/ls", "link: sh and ash"],
  ["type", changed("bin/ls", { type: "link" }), "bin/ls", "type: symlink and link"],
  [
    "attributes",
    changed("bin/sh", { pax: { "SCHILY.xattr.user.a": "1" } }),
    "bin/sh",
    'pax header.SCHILY.xattr.user.a: absent and "1"',
  ],
  ["a file too many", [...base, { name: "usr/new" }], "usr/new", "is only in the second"],
  ["a file too few", base.slice(0, -1), "etc/motd", "is only in the first"],
  [
    "a file between",
    [...base.slice(0, 2), { name: "bin/cat" }, ...base.slice(2)],
    "bin/cat",
    "is only in the second",
  ],
  ["a file missing between", base.filter(({ name }) => name !== "bin/sh"), "bin/sh", "is only in the first"],
  ["a renamed file", changed("bin/sh", { name: "bin/ash" }), "bin/sh", "is only in the first"],
  [
    "order",
    [...base.slice(0, 1), ...base.slice(1).reverse()],
    "bin/sh",
    "order: comes where the second has etc/motd",
  ],
];

test.each(inFile)("%s: names the first file that differs", async (_, files, path, what) => {
  const below = [{ name: "below", content: "the same on both sides" }];
  const difference = await compared(image(below, base), image(below, files));
  expect(difference).toEqual({ text: `layer 2: ${path}: ${what}`, layer: 2, path });
});

test("names the first of many differences", async () => {
  const files = base.map((file) => ({ ...file, mode: 0o700 }));
  expect(await compared(image(base, base), image(files, files))).toMatchObject({ layer: 1, path: "bin/" });
});

test("compares the content of large files at any offset", async () => {
  const size = 3 * 1024 * 1024;
  for (const at of [0, 70_000, size - 1]) {
    const [one, other] = [Buffer.alloc(size, 1), Buffer.alloc(size, 1)];
    other[at] = 2;
    const files = (content: Buffer): LayerFile[] => [
      { name: "first" },
      { name: "big", content },
      { name: "last" },
    ];
    expect((await compared(image(files(one)), image(files(other))))?.text).toBe(
      `layer 1: big: content differs from byte ${at}`,
    );
  }
});

test("names a difference in the config or the number of layers before one in files", async () => {
  const withEnv = (env: string[]): LayoutRecipe => ({
    platforms: { "linux/amd64": { layers: [base], env } },
  });
  expect(await compared(withEnv(["A=1", "B=1"]), withEnv(["A=1", "B=2"]))).toEqual({
    text: 'config.config.Env[1]: "B=1" and "B=2"',
    layer: null,
    path: null,
  });
  expect((await compared(withEnv(["A=1"]), withEnv(["A=1", "B=2"])))?.text).toBe(
    'config.config.Env[1]: absent and "B=2"',
  );
  expect((await compared(image(base), image(base, base)))?.text).toBe("number of layers: 1 and 2");
});

test("names a difference in history or annotations last", async () => {
  const history = (created_by: string) => ({
    ...image(base),
    change: { config: (config: Record<string, unknown>) => ({ ...config, history: [{ created_by }] }) },
  });
  expect((await compared(history("RUN a"), history("RUN b")))?.text).toBe(
    'config: history[0].created_by: "RUN a" and "RUN b"',
  );
  expect((await compared({ ...image(base), version: "1" }, { ...image(base), version: "2" }))?.text).toBe(
    'manifest.annotations.org.opencontainers.image.version: "1" and "2"',
  );
});

test("distinguishes another compression from other files", async () => {
  const files = [{ name: "text", content: "many words, many words, ".repeat(500) }];
  expect(
    (await compared({ ...image(files), gzipLevel: 1 }, { ...image(files), gzipLevel: 9 }))?.text,
  ).toMatch(/^layer 1: the same bytes, compressed in another way/);
});

test("escapes control characters of a file's name", async () => {
  const difference = await compared(
    image([{ name: "a" }]),
    image([{ name: "a" }, { name: "b\u001b[2J\u202e" }]),
  );
  expect(difference?.text).toBe("layer 1: b\\u001b[2J\\u202e: is only in the second");
});

test("rejects a layer that is no tar without waiting for its end", async () => {
  const folder = await scratchFolder();
  const content = Buffer.alloc(200_000, 7);
  const first = await written(join(folder, "first"), image([{ name: "a", content }]));
  const second = await writeLayout(join(folder, "second"), image([{ name: "a", content }, { name: "b" }]));
  const path = layoutBlobPath(second.folder, second.layers[0] ?? second.index);
  const packed = await readFile(path);
  const broken = [
    gzipSync(gunzipSync(packed).subarray(0, 150_000)),
    packed.subarray(0, packed.length / 2),
    Buffer.from("x"),
  ];
  for (const bytes of broken) {
    await writeFile(path, bytes);
    const blobPath = (digest: Digest) => layoutBlobPath(second.folder, digest);
    await expect(
      compareManifests(first, { manifest: second.manifests[0] ?? second.index, blobPath }),
    ).rejects.toThrow(`${path}: can't be read as a tar`);
  }
});
