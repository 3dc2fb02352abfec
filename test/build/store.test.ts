import { chmod, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Endpoint } from "../../buildkit/client/endpoint.ts";
import { type Digest, hexOf } from "../../oci/digest.ts";
import { compareManifests } from "../../oci/image-diff.ts";
import { readLayout } from "../../oci/layout.ts";
import { Store } from "../../oci/store/store.ts";
import { BuildWorkspace } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("the store, with what BuildKit writes and reads", () => {
  let bench: BuildWorkspace;
  let endpoint: Endpoint;
  let store: Store;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
    ({ endpoint } = await bench.daemon());
    store = await Store.open(bench.store);
  });

  afterAll(async () => {
    await bench?.close();
  });

  /** Builds an image with this text in /etc/motd, stores it, and removes what BuildKit exported. */
  async function stored(text: string, version = "1.0") {
    const built = await bench.build(endpoint, {
      containerfile: "FROM scratch\nCOPY motd /etc/motd\n",
      files: { motd: text },
      platforms: ["linux/amd64", "linux/arm64"],
      version,
    });
    const indexJson = await readFile(join(built.layout, "index.json"), "utf8");
    const image = await store.adopt(built.layout, { diffIds: true });
    expect(image.index).toBe(built.index);
    await rm(built.layout, { recursive: true });
    return { image, indexJson };
  }

  /** Builds an image from the first platform's stored manifest. */
  const dependent = (manifest: Digest | undefined) =>
    bench.build(endpoint, {
      containerfile: "FROM scratch\nCOPY --from=stagex/core-motd /etc/motd /copied\n",
      dependencies: manifest === undefined ? {} : { "core-motd": manifest },
    });

  test("an export has BuildKit's own index.json, byte for byte, and nothing that BuildKit left behind", async () => {
    const { image, indexJson } = await stored("hello", "2.1");
    const out = join(bench.folder, "out", "core-motd");
    await store.export(image.index, out);
    expect(await readFile(join(out, "index.json"), "utf8")).toBe(indexJson);
    expect(JSON.parse(indexJson).manifests[0].annotations["org.opencontainers.image.ref.name"]).toBe("2.1");
    expect((await readdir(out)).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
    expect(await readLayout(out, { diffIds: true })).toEqual(image);
  });

  test("BuildKit builds from the store alone", async () => {
    const { image } = await stored("from the store");
    const built = await dependent(image.manifests[0]?.digest);
    expect((await store.adopt(built.layout, { diffIds: true })).index).toBe(built.index);
  });

  test("two real images differ in the file that was changed", async () => {
    const [one, other] = [await stored("hello"), await stored("hullo")];
    const compared = (image: typeof one.image) => ({
      manifest: image.manifests[0]?.digest ?? image.index,
      blobPath: (digest: Digest) => store.blobPath(digest),
    });
    expect(await compareManifests(compared(one.image), compared(other.image))).toEqual({
      text: "layer 1: etc/motd: content differs from byte 1",
      layer: 1,
      path: "etc/motd",
    });
  });

  test("a damaged layer gets into no other image, and building again heals the store", async () => {
    const { image } = await stored("to be damaged");
    const layer = image.manifests[0]?.layers[0]?.digest ?? image.index;
    const path = store.blobPath(layer);
    const bytes = await readFile(path);
    const kept = join(bench.folder, `kept-${hexOf(layer)}`);
    await writeFile(kept, bytes);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    await chmod(path, 0o644);
    await writeFile(path, bytes);
    expect(await store.inspect(image.index)).toMatchObject([{ digest: layer, problem: "damaged" }]);
    await expect(store.find(image.manifests[0]?.digest ?? image.index)).resolves.toBeNull();
    await rename(kept, path);
    expect(await store.audit(image.index)).toEqual([]);
    await rm(path);
    await stored("to be damaged");
    expect(await store.audit(image.index)).toEqual([]);
  });
});
