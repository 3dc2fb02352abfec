import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { linkDependencies } from "../../../../buildkit/client/dependency-layout.ts";
import { type Digest, digestOf, hexOf } from "../../../../oci/digest.ts";

let root: string;
let store: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stagex-unit-"));
  store = join(root, "store");
  await mkdir(join(store, "blobs", "sha256"), { recursive: true });
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function put(content: string): Promise<Digest> {
  await writeFile(join(store, "blobs", "sha256", hexOf(digestOf(content))), content);
  return digestOf(content);
}

async function image(name: string) {
  const [config, shared, layer] = [
    await put(`config ${name}`),
    await put("shared layer"),
    await put(`layer ${name}`),
  ];
  const manifest = await put(
    JSON.stringify({ config: { digest: config }, layers: [{ digest: shared }, { digest: layer }] }),
  );
  const index = await put(JSON.stringify({ manifests: [{ digest: manifest }] }));
  return { config, shared, layer, manifest, index };
}

const names = (digests: readonly Digest[]) => digests.map(hexOf).toSorted();
const linked = async () => (await readdir(join(root, "view", "blobs", "sha256"))).toSorted();

test("links the blobs of the dependencies only, by manifest or by index", async () => {
  const [a, b] = [await image("a"), await image("b")];
  await image("not a dependency");
  const { layers } = linkDependencies(store, { a: a.manifest, b: b.index }, join(root, "view"));
  expect(await linked()).toEqual(
    names([a.config, a.shared, a.layer, a.manifest, b.config, b.layer, b.manifest, b.index]),
  );
  const layersOf = (name: string) => [...(layers.get(name) ?? [])].toSorted();
  expect(layersOf("a")).toEqual([a.shared, a.layer].toSorted());
  expect(layersOf("b")).toEqual([b.shared, b.layer].toSorted());
  expect(await readFile(join(root, "view", "blobs", "sha256", hexOf(b.layer)), "utf8")).toBe("layer b");
});

test("protects the store from deletions in the layout", async () => {
  const a = await image("a");
  linkDependencies(store, { a: a.index }, join(root, "view"));
  const before = await readdir(join(store, "blobs", "sha256"));
  await rm(join(root, "view"), { recursive: true });
  expect(await readdir(join(store, "blobs", "sha256"))).toEqual(before);
});

test("names a missing dependency, and one that is not an image", async () => {
  const missing = digestOf("missing");
  expect(() => linkDependencies(store, { "core-a": missing }, join(root, "one"))).toThrow(
    `the dependency core-a (${missing}) can't be read from the store`,
  );
  const text = await put('{"neither": 1}');
  expect(() => linkDependencies(store, { "core-b": text }, join(root, "two"))).toThrow(
    /the dependency core-b/,
  );
});
