import { randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import {
  chmod,
  copyFile,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { type Digest, digestOf, hexOf, parseDigest } from "../../../../oci/digest.ts";
import { findLayoutImage, readLayout } from "../../../../oci/layout.ts";
import { Store } from "../../../../oci/store/store.ts";
import {
  type LayoutRecipe,
  type WrittenLayout,
  writeLayout,
} from "../../../support/builders/image-layout.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";
import { runKillable } from "../../../support/programs/killable.ts";

const small: LayoutRecipe = {
  platforms: {
    "linux/amd64": {
      layers: [[{ name: "bin/hello", content: "x86" }], [{ name: "etc/motd", content: "hi" }]],
    },
    "linux/arm64": { layers: [[{ name: "bin/hello", content: "arm" }]] },
  },
};

async function stocked(recipe: LayoutRecipe = small) {
  const folder = await scratchFolder();
  const layout = await writeLayout(join(folder, "layout"), recipe);
  const store = await Store.open(join(folder, "store"));
  return { folder, layout, store };
}

/** Changes one bit, also of a file that is read-only. */
async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

async function replace(path: string, content: string): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, content);
}

function blobsOf({ index, manifests, configs, layers }: WrittenLayout): Digest[] {
  return [index, ...manifests, ...configs, ...layers];
}

const first = ([digest]: readonly Digest[]): Digest => digest ?? digestOf("none");

test("adopts an image whole, linked to the layout's layers, and keeps it after the layout is gone", async () => {
  const { layout, store } = await stocked();
  const image = await store.adopt(layout.folder, { diffIds: true });
  expect(image).toEqual(await readLayout(layout.folder));
  const source = join(layout.folder, "blobs", "sha256", hexOf(first(layout.layers)));
  const stored = await stat(store.blobPath(first(layout.layers)));
  expect(stored.ino).toBe((await stat(source)).ino);
  expect(stored.mode & 0o777).toBe(0o444);
  await rm(layout.folder, { recursive: true });
  expect(await store.audit(image.index)).toEqual([]);
  expect(await store.readImage(image.index)).toEqual(image);
  expect(await readdir(join(store.root, "tmp"))).toEqual([]);
});

test("a layer check sees every byte, of stored layers too, and a layer that it rejects stays out", async () => {
  const { folder, layout, store } = await stocked();
  const [spared, ...checked] = layout.layers;
  const seen = new Map<Digest, Digest>();
  const layerCheck = (layer: Digest) => {
    if (layer === spared) return undefined;
    return async (bytes: AsyncIterable<Uint8Array>) =>
      void seen.set(layer, digestOf(await buffer(Readable.from(bytes))));
  };
  for (const already of [false, true]) {
    seen.clear();
    await store.adopt(layout.folder, { layerCheck });
    expect(seen, `stored already: ${already}`).toEqual(new Map(checked.map((layer) => [layer, layer])));
  }
  const refusing = (layer: Digest) => async () => {
    if (layer === checked[0]) throw new Error("refused");
  };
  const strict = await Store.open(join(folder, "strict"));
  await expect(strict.adopt(layout.folder, { layerCheck: refusing })).rejects.toThrow("refused");
  expect(await strict.find(first(layout.manifests))).toBeNull();
  expect(existsSync(strict.blobPath(first(checked)))).toBe(false);
  expect(await readdir(join(strict.root, "tmp"))).toEqual([]);
  await expect(store.adopt(layout.folder, { layerCheck: refusing })).rejects.toThrow("refused");
});

test("reports damage as damage, whatever a layer check throws and however early it stops", async () => {
  const { folder, layout } = await stocked();
  const layer = first(layout.layers);
  const path = join(layout.folder, "blobs", "sha256", hexOf(layer));
  await flip(path);
  for (const check of [async () => Promise.reject(new Error("a riddle")), async () => {}]) {
    const store = await Store.open(join(folder, "store"));
    await expect(store.adopt(layout.folder, { layerCheck: () => check })).rejects.toThrow(`${path}: damaged`);
  }
});

test("the store's folder is a valid layout with an empty index", async () => {
  const { store } = await stocked();
  expect(await readFile(join(store.root, "oci-layout"), "utf8")).toBe('{"imageLayoutVersion":"1.0.0"}');
  expect(JSON.parse(await readFile(join(store.root, "index.json"), "utf8"))).toEqual({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [],
  });
});

test("finds an image by each platform's manifest, also in another process", async () => {
  const { layout, store } = await stocked();
  await store.adopt(layout.folder);
  const again = await Store.open(store.root);
  for (const manifest of layout.manifests) {
    expect((await again.find(manifest))?.index).toBe(layout.index);
  }
  expect(await again.find(layout.index)).toBeNull();
  expect(await again.find(digestOf("unknown"))).toBeNull();
});

test("finds a manifest that two indexes share in the whole one", async () => {
  const { folder, layout, store } = await stocked();
  const { "linux/amd64": amd64 = { layers: [] } } = small.platforms;
  const alone = await writeLayout(join(folder, "alone"), { platforms: { "linux/amd64": amd64 } });
  await store.adopt(layout.folder);
  await store.adopt(alone.folder);
  for (const gone of [layout, alone]) {
    const kept = gone === layout ? alone : layout;
    await rm(store.blobPath(gone.index));
    expect((await store.find(first(alone.manifests)))?.index).toBe(kept.index);
    await store.adopt(gone.folder);
  }
});

test("does not find an image with a missing or truncated blob", async () => {
  const { layout, store } = await stocked();
  for (const blob of blobsOf(layout)) {
    await store.adopt(layout.folder);
    await replace(store.blobPath(blob), "");
    expect(await store.find(first(layout.manifests))).toBeNull();
    await expect(store.readImage(layout.index)).rejects.toThrow(hexOf(blob));
  }
});

test("rejects a wrong layout by its file's name, and leaves no index behind", async () => {
  const { folder, layout } = await stocked();
  for (const blob of blobsOf(layout)) {
    const store = await Store.open(join(folder, `store-${hexOf(blob)}`));
    const broken = await writeLayout(join(folder, hexOf(blob)), small);
    const path = join(broken.folder, "blobs", "sha256", hexOf(blob));
    await flip(path);
    await expect(store.adopt(broken.folder)).rejects.toThrow(`${path}: damaged`);
    await rm(path);
    await expect(store.adopt(broken.folder)).rejects.toThrow(`${path}: is missing`);
    await expect(stat(store.blobPath(layout.index))).rejects.toThrow("ENOENT");
    expect(await store.find(first(layout.manifests))).toBeNull();
    expect(await readdir(join(store.root, "tmp"))).toEqual([]);
  }
});

test("verifies a layer that it has already, and does not read the layout's", async () => {
  const { folder, layout, store } = await stocked();
  await store.adopt(layout.folder);
  const other = await writeLayout(join(folder, "other"), small);
  await rm(join(other.folder, "blobs", "sha256", hexOf(first(layout.layers))));
  await (await Store.open(store.root)).adopt(other.folder);
  expect(await store.audit(layout.index)).toEqual([]);
});

test("replaces damaged blobs when the image is adopted again", async () => {
  const { folder, layout, store } = await stocked();
  await store.adopt(layout.folder);
  // A copy, as the layout's own blobs share their bytes with the store's.
  const fresh = await writeLayout(join(folder, "fresh"), small);
  for (const blob of blobsOf(layout)) await flip(store.blobPath(blob));
  await (await Store.open(store.root)).adopt(fresh.folder);
  expect(await store.audit(layout.index)).toEqual([]);
});

for (const kind of ["index", "manifest", "config", "layer"] as const) {
  test(`an audit puts a damaged ${kind} aside, and the next one reports it missing`, async () => {
    const { folder, layout, store } = await stocked();
    await store.adopt(layout.folder);
    const blob = {
      index: layout.index,
      manifest: first(layout.manifests),
      config: first(layout.configs),
      layer: first(layout.layers),
    }[kind];
    const path = store.blobPath(blob);
    await flip(path);
    const [damage, ...more] = await store.audit(layout.index);
    expect(more).toEqual([]);
    expect(damage).toMatchObject({
      digest: blob,
      problem: "damaged",
      message: expect.stringContaining(path),
    });
    expect((await stat(damage?.putAside ?? "")).isFile()).toBe(true);
    await expect(stat(path)).rejects.toThrow("ENOENT");
    expect(await store.audit(layout.index)).toMatchObject([
      { digest: blob, problem: "missing", putAside: null },
    ]);
    await expect(store.export(layout.index, join(folder, "out"))).rejects.toThrow("is missing");
  });
}

test("an audit reports every wrong layer", async () => {
  const { layout, store } = await stocked();
  await store.adopt(layout.folder);
  for (const layer of layout.layers) await flip(store.blobPath(layer));
  expect((await store.audit(layout.index)).map(({ digest }) => digest).sort()).toEqual(
    [...layout.layers].sort(),
  );
});

const hasProc = existsSync("/proc/self/fd");

test.skipIf(!hasProc)("an audit keeps a blob that another process repairs meanwhile", async () => {
  const content = Buffer.alloc(32 * 1024 * 1024);
  const { folder, layout, store } = await stocked({
    platforms: { "linux/amd64": { layers: [[{ name: "zeros", content }]] } },
    gzipLevel: 0,
  });
  await store.adopt(layout.folder);
  const path = store.blobPath(first(layout.layers));
  const good = join(folder, "good");
  await copyFile(path, good);
  await flip(path);
  const audit = store.audit(layout.index);
  while (!(await isOpen(path))) await new Promise(setImmediate);
  await rename(good, path);
  expect(await audit).toMatchObject([{ problem: "damaged", putAside: null }]);
  expect(await store.audit(layout.index)).toEqual([]);
});

async function isOpen(path: string): Promise<boolean> {
  const open = await readdir("/proc/self/fd");
  const targets = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return targets.includes(path);
}

test("exports what StageX's scripts expect: index.json -> image index -> manifests[0], and the tag", async () => {
  const { folder, layout, store } = await stocked({ ...small, version: "4.2" });
  await store.adopt(layout.folder);
  await rm(layout.folder, { recursive: true });
  const out = join(folder, "out", "core-hello");
  await store.export(layout.index, out);
  expect((await readLayout(out, { diffIds: true })).index).toBe(layout.index);
  expect((await readdir(out)).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  const index = JSON.parse(await readFile(join(out, "index.json"), "utf8"));
  expect(index.manifests[0].annotations["org.opencontainers.image.ref.name"]).toBe("4.2");
  const digest = parseDigest(index.manifests[0].digest);
  const image = JSON.parse(await readFile(join(out, "blobs", "sha256", hexOf(digest)), "utf8"));
  expect(image.manifests[0].digest).toBe(first(layout.manifests));
  for (const blob of await readdir(join(out, "blobs", "sha256"))) {
    const shared = await stat(store.blobPath(parseDigest(`sha256:${blob}`)));
    expect(shared.ino).toBe((await stat(join(out, "blobs", "sha256", blob))).ino);
  }
  expect(await readdir(join(folder, "out"))).toEqual(["core-hello"]);
});

test("keeps a whole export, and replaces one that is not whole", async () => {
  const { folder, layout, store } = await stocked();
  await store.adopt(layout.folder);
  const out = join(folder, "out", "core-hello");
  await store.export(layout.index, out);
  const before = await stat(out);
  await store.export(layout.index, out);
  expect((await stat(out)).ino).toBe(before.ino);

  const layer = join(out, "blobs", "sha256", hexOf(first(layout.layers)));
  const spoil: (() => Promise<void>)[] = [
    () => rm(layer),
    () => replace(layer, "other"),
    () => rm(join(out, "oci-layout")),
    () => replace(join(out, "index.json"), "{}"),
  ];
  for (const damage of spoil) {
    await damage();
    await store.export(layout.index, out);
    expect((await readLayout(out)).index).toBe(layout.index);
  }
  await rm(out, { recursive: true });
  await writeFile(out, "a file");
  await store.export(layout.index, out);
  expect((await readLayout(out)).index).toBe(layout.index);
});

test("replaces the export of another image", async () => {
  const { folder, layout, store } = await stocked();
  const other = await writeLayout(join(folder, "other"), { ...small, version: "2.0" });
  const out = join(folder, "out", "core-hello");
  for (const { folder: from, index } of [layout, other]) {
    await store.adopt(from);
    await store.export(index, out);
    const image = await readLayout(out);
    expect(image.index).toBe(index);
    expect((await readdir(join(out, "blobs", "sha256"))).length).toBe(new Set(blobsOf(layout)).size);
  }
});

test("never exports a flipped bit, even in a blob of this process", async () => {
  const { folder, layout, store } = await stocked();
  for (const blob of blobsOf(layout)) {
    const fresh = await writeLayout(join(folder, `fresh-${hexOf(blob)}`), small);
    await store.adopt(fresh.folder);
    await flip(store.blobPath(blob));
    await expect(store.export(layout.index, join(folder, "out"))).rejects.toThrow(
      `${store.blobPath(blob)}: damaged`,
    );
  }
  await expect(stat(join(folder, "out"))).rejects.toThrow("ENOENT");
});

test("an inspection reads a layer once in a process, and again if its file changes", async () => {
  const { layout, store } = await stocked();
  await store.adopt(layout.folder);
  const manifest = first(layout.manifests);
  for (const reference of [layout.index, manifest]) expect(await store.inspect(reference)).toEqual([]);
  await flip(store.blobPath(first(layout.layers)));
  expect(await store.inspect(manifest)).toMatchObject([{ digest: first(layout.layers), problem: "damaged" }]);
  expect(await store.inspect(manifest)).toMatchObject([{ digest: first(layout.layers), problem: "missing" }]);
  expect(await store.inspect(digestOf("unknown"))).toMatchObject([{ problem: "missing" }]);
});

test("inspects a manifest in a whole index, if there is one", async () => {
  const { folder, layout, store } = await stocked();
  const { "linux/amd64": amd64 = { layers: [] } } = small.platforms;
  const alone = await writeLayout(join(folder, "alone"), { platforms: { "linux/amd64": amd64 } });
  for (const gone of [layout, alone]) {
    await store.adopt(layout.folder);
    await store.adopt(alone.folder);
    await rm(store.blobPath(gone.index));
    expect(await store.inspect(first(alone.manifests))).toEqual([]);
  }
});

test("removes the export of the given image only, and keeps its blobs", async () => {
  const { folder, layout, store } = await stocked();
  await store.adopt(layout.folder);
  const out = join(folder, "out", "core-hello");
  await store.removeExport(out, layout.index);
  await store.export(layout.index, out);
  await store.removeExport(out, digestOf("another image"));
  expect((await readLayout(out)).index).toBe(layout.index);
  await store.removeExport(out, layout.index);
  expect(await readdir(join(folder, "out"))).toEqual([]);
  expect(await store.audit(layout.index)).toEqual([]);

  await mkdir(out);
  await writeFile(join(out, "index.json"), "somebody's notes");
  await store.removeExport(out, layout.index);
  expect(await readFile(join(out, "index.json"), "utf8")).toBe("somebody's notes");
});

test("findLayoutImage reads a folder's image, and hasRecord whether an image has come in", async () => {
  const { folder, layout, store } = await stocked();
  const out = join(folder, "out", "core-hello");
  const [manifest, index] = [first(layout.manifests), layout.index];
  expect([findLayoutImage(out), store.hasRecord(manifest, index)]).toEqual([null, false]);
  await store.adopt(layout.folder);
  await store.export(index, out);
  expect([findLayoutImage(out), store.hasRecord(manifest, index)]).toEqual([index, true]);
  expect(store.hasRecord(manifest, digestOf("another index"))).toBe(false);
  for (const text of ["{}", "somebody's notes"]) {
    await replace(join(out, "index.json"), text);
    expect(findLayoutImage(out)).toBeNull();
  }
  await rm(join(out, "index.json"));
  await symlink("/etc/passwd", join(out, "index.json"));
  expect(findLayoutImage(out)).toBeNull();
});

test("keeps a shared blob once", async () => {
  const { folder, layout, store } = await stocked();
  const other = await writeLayout(join(folder, "other"), { ...small, version: "2.0" });
  await store.adopt(layout.folder);
  const before = await stat(store.blobPath(first(layout.layers)));
  await store.adopt(other.folder);
  expect((await stat(store.blobPath(first(layout.layers)))).ino).toBe(before.ino);
  const blobs = new Set([...blobsOf(layout), ...blobsOf(other)].map(hexOf));
  expect((await readdir(join(store.root, "blobs", "sha256"))).sort()).toEqual([...blobs].sort());
});

test("rejects a layout whose blob is a link to a foreign file", async () => {
  const { folder, layout, store } = await stocked();
  const path = join(layout.folder, "blobs", "sha256", hexOf(first(layout.layers)));
  const secret = join(folder, "secret");
  await writeFile(secret, "secret");
  await rm(path);
  await link(secret, path);
  await expect(store.adopt(layout.folder)).rejects.toThrow(path);
  const others = layout.layers.slice(1).map(hexOf);
  for (const blob of await readdir(join(store.root, "blobs", "sha256"))) expect(others).toContain(blob);
});

const otherFileSystem = "/dev/shm";
const hasOther = statSync(otherFileSystem, { throwIfNoEntry: false })?.dev !== statSync(tmpdir()).dev;

test.skipIf(!hasOther)("copies and verifies a layout and an export on other file systems", async () => {
  const { layout, store } = await stocked();
  const elsewhere = await mkdtemp(join(otherFileSystem, "stagex-test-"));
  onTestFinished(() => rm(elsewhere, { recursive: true, force: true }));
  const far = await writeLayout(join(elsewhere, "layout"), small);
  const path = join(far.folder, "blobs", "sha256", hexOf(first(layout.layers)));
  const good = await readFile(path);
  await flip(path);
  await expect(store.adopt(far.folder)).rejects.toThrow(`${path}: damaged`);
  await writeFile(path, good);
  await store.adopt(far.folder, { diffIds: true });
  expect(await store.audit(layout.index)).toEqual([]);
  await store.export(layout.index, join(elsewhere, "out"));
  expect((await readLayout(join(elsewhere, "out"))).index).toBe(layout.index);
});

/** Big enough that a kill can fall into the middle of it: megabytes that gzip can't shrink. */
function large(): LayoutRecipe {
  const layer = () => [{ name: "data", content: randomBytes(2 * 1024 * 1024) }];
  return { platforms: { "linux/amd64": { layers: [layer(), layer(), layer()] } }, gzipLevel: 1 };
}

test("SIGKILL at any moment leaves images and exports whole or absent", async () => {
  const { folder, layout } = await stocked(large());
  const script = "./adopt-and-export.ts";
  // How long it takes unhindered: a machine that was busy at first must not push all later kills behind the end.
  let whole = (await runKillable(script, [join(folder, "trial"), layout.folder, join(folder, "t")], null))
    .worked;
  let killed = 0;
  for (let round = 0; killed < 7; round += 1) {
    expect(round).toBeLessThan(40);
    const root = join(folder, `store-${round}`);
    const out = join(folder, "out", `core-${round}`);
    await mkdir(join(folder, "out"), { recursive: true });
    const ended = await runKillable(script, [root, layout.folder, out], (whole * (round % 7)) / 7);
    if (ended.signal === "SIGKILL") killed += 1;
    else whole = Math.min(whole, ended.worked);
    const survivor = await Store.open(root);
    const blobs = await readdir(join(root, "blobs", "sha256"));
    for (const blob of blobs) {
      expect(digestOf(await readFile(join(root, "blobs", "sha256", blob)))).toBe(`sha256:${blob}`);
    }
    if (blobs.includes(hexOf(layout.index))) expect(await survivor.audit(layout.index)).toEqual([]);
    const found = await survivor.find(first(layout.manifests));
    if (found !== null) expect(await survivor.audit(found.index)).toEqual([]);
    if ((await readdir(join(folder, "out"))).includes(`core-${round}`)) {
      expect((await readLayout(out)).index).toBe(layout.index);
    }
    await survivor.adopt(layout.folder);
    await survivor.export(layout.index, out);
    expect(await survivor.audit(layout.index)).toEqual([]);
    expect((await readLayout(out)).index).toBe(layout.index);
  }
});

test("several processes adopt and export the same image at once", async () => {
  const { folder, layout, store } = await stocked(large());
  const out = join(folder, "out", "core-data");
  const ended = await Promise.all(
    [1, 2, 3].map(() => runKillable("./adopt-and-export.ts", [store.root, layout.folder, out], null)),
  );
  expect(ended.map(({ code, output }) => [code, output])).toEqual(ended.map(() => [0, "begin\n"]));
  expect(await store.audit(layout.index)).toEqual([]);
  expect((await readLayout(out)).index).toBe(layout.index);
});

test("opening the store keeps the last hundred damaged blobs", async () => {
  const root = await scratchFolder();
  await Store.open(root);
  for (let number = 0; number < 120; number++) await writeFile(join(root, "damaged", `blob-${number}`), "x");
  await Store.open(root);
  expect(await readdir(join(root, "damaged"))).toHaveLength(100);
});
