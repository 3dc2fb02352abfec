import { mkdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Digest } from "../../../oci/digest.ts";
import { layoutBlobPath, readLayout } from "../../../oci/layout.ts";
import { LayoutError, type LayoutProblem } from "../../../oci/layout-error.ts";
import { type LayoutRecipe, type WrittenLayout, writeLayout } from "../../support/builders/image-layout.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";

const twoPlatforms: LayoutRecipe = {
  platforms: {
    "linux/arm64": { layers: [[{ name: "bin/hello", content: "arm" }]] },
    "linux/amd64": {
      layers: [[{ name: "bin/hello", content: "x86" }], [{ name: "etc/motd", content: "hi" }]],
    },
  },
};

async function written(recipe: LayoutRecipe = twoPlatforms): Promise<WrittenLayout> {
  return writeLayout(join(await scratchFolder(), "layout"), recipe);
}

/** Expects the layout to be refused for this reason, with the file named in the message. */
async function refused(
  layout: WrittenLayout,
  problem: LayoutProblem,
  message: RegExp | string,
  diffIds = false,
) {
  const error = await readLayout(layout.folder, { diffIds }).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(LayoutError);
  expect(error).toMatchObject({ problem, message: expect.stringMatching(message) });
  expect(error).toMatchObject({ message: expect.stringContaining(layout.folder) });
}

async function flip(path: string, position: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[position] = (bytes[position] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

test("reads index, manifests in the index's order, configs and layers of a whole layout", async () => {
  const layout = await written();
  const image = await readLayout(layout.folder, { diffIds: true });
  expect(image.index).toBe(layout.index);
  expect(image.manifests.map(({ platform }) => platform)).toEqual(["linux/arm64", "linux/amd64"]);
  expect(image.manifests.map(({ digest }) => digest)).toEqual(layout.manifests);
  expect(image.manifests.map(({ config }) => config.digest)).toEqual(layout.configs);
  expect(image.manifests.flatMap(({ layers }) => layers.map(({ digest }) => digest))).toEqual(layout.layers);
});

const blobsByKind: [string, (layout: WrittenLayout) => Digest | undefined][] = [
  ["index", (layout) => layout.index],
  ["manifest", (layout) => layout.manifests[1]],
  ["config", (layout) => layout.configs[0]],
  ["layer", (layout) => layout.layers[2]],
];

for (const [kind, pick] of blobsByKind) {
  const blobOf = (layout: WrittenLayout): string =>
    layoutBlobPath(layout.folder, pick(layout) ?? layout.index);

  test(`rejects a missing ${kind} by name`, async () => {
    const layout = await written();
    await rm(blobOf(layout));
    await refused(layout, "missing", /is missing/);
  });

  test(`rejects a ${kind} with one flipped bit anywhere as damaged`, async () => {
    for (const at of [0, 0.5, 0.99]) {
      const layout = await written();
      const path = blobOf(layout);
      await flip(path, Math.floor((await readFile(path)).length * at));
      await refused(layout, "damaged", /its bytes have the digest sha256:/);
      await rm(layout.folder, { recursive: true });
    }
  });

  test(`rejects a truncated ${kind} with both sizes`, async () => {
    const layout = await written();
    const size = (await readFile(blobOf(layout))).length;
    await truncate(blobOf(layout), size - 1);
    await refused(layout, "truncated", new RegExp(`has ${size - 1} bytes, its descriptor says ${size}`));
  });

  test(`rejects a ${kind} with a byte too many`, async () => {
    const layout = await written();
    await writeFile(blobOf(layout), "\n", { flag: "a" });
    await refused(layout, "oversized", /its descriptor says/);
  });

  test(`rejects a ${kind} that is a link, even to the right bytes`, async () => {
    const layout = await written();
    const aside = join(layout.folder, "aside");
    await writeFile(aside, await readFile(blobOf(layout)));
    await rm(blobOf(layout));
    await symlink(aside, blobOf(layout));
    await refused(layout, "not-a-file", /is not a regular file/);
  });
}

test("rejects a folder in a blob's place", async () => {
  const layout = await written();
  const path = layoutBlobPath(layout.folder, layout.layers[0] ?? layout.index);
  await rm(path);
  await mkdir(path);
  await refused(layout, "not-a-file", /is not a regular file/);
});

test("rejects a wrong size in a descriptor with the right digest", async () => {
  const layout = await written({
    ...twoPlatforms,
    change: { index: (index) => JSON.parse(JSON.stringify(index).replace(/"size":(\d+)/, '"size":1$1')) },
  });
  await refused(layout, "truncated", /its descriptor says 1/);
});

const malicious = [
  "sha256:../../../etc/passwd",
  `sha512:${"0".repeat(128)}`,
  `sha256:${"A".repeat(64)}`,
  "",
  7,
];
test.each(malicious)("rejects the digest %j in any document", async (digest) => {
  const change = (document: Record<string, unknown>) =>
    JSON.parse(JSON.stringify(document).replace(/"digest":"[^"]*"/, `"digest":${JSON.stringify(digest)}`));
  for (const where of ["layoutIndex", "index", "manifest"] as const) {
    await refused(await written({ ...twoPlatforms, change: { [where]: change } }), "malformed", /digest/);
  }
});

test("rejects an attestation manifest, with a hint", async () => {
  const layout = await written({
    platforms: { ...twoPlatforms.platforms, "unknown/unknown": { layers: [] } },
  });
  await refused(layout, "attestation", /manifests\[2\] is an attestation manifest.*--provenance=false/);
});

test("rejects an index with two platforms exchanged, though all digests are right", async () => {
  const exchanged = await written({
    ...twoPlatforms,
    change: {
      index: (index) => {
        const entries = index.manifests as { platform: object }[];
        const platforms = entries.map(({ platform }) => platform).reverse();
        return { ...index, manifests: entries.map((entry, at) => ({ ...entry, platform: platforms[at] })) };
      },
    },
  });
  await refused(exchanged, "malformed", /has it for linux\/amd64, but its config is for linux\/arm64/);
});

test("rejects wrong media types anywhere", async () => {
  const docker = (document: Record<string, unknown>) =>
    JSON.parse(JSON.stringify(document).replaceAll("vnd.oci.image", "vnd.docker.distribution"));
  for (const where of ["layoutIndex", "index", "manifest"] as const) {
    await refused(
      await written({ ...twoPlatforms, change: { [where]: docker } }),
      "media-type",
      /vnd\.docker\.distribution.*expected application\/vnd\.oci\.image/,
    );
  }
});

test("rejects a manifest without an index, with a hint", async () => {
  const layout = await written({
    ...twoPlatforms,
    change: {
      layoutIndex: (index) => JSON.parse(JSON.stringify(index).replaceAll("image.index", "image.manifest")),
    },
  });
  await refused(layout, "media-type", /BUILDKIT_MULTI_PLATFORM=1/);
});

test("rejects a layout with two images or none", async () => {
  const double = ({ manifests, ...index }: Record<string, unknown>) => ({
    ...index,
    manifests: Array.isArray(manifests) ? [...manifests, ...manifests] : [],
  });
  const none = (index: Record<string, unknown>) => ({ ...index, manifests: [] });
  await refused(
    await written({ ...twoPlatforms, change: { layoutIndex: double } }),
    "several-images",
    /lists 2/,
  );
  await refused(
    await written({ ...twoPlatforms, change: { layoutIndex: none } }),
    "several-images",
    /lists 0/,
  );
  await refused(
    await written({ ...twoPlatforms, change: { index: double } }),
    "malformed",
    /two manifests are for/,
  );
  await refused(
    await written({ ...twoPlatforms, change: { index: none } }),
    "malformed",
    /lists no manifest/,
  );
});

test("rejects a layer that unpacks to another diff_id, if diffIds is set", async () => {
  const wrong = (config: Record<string, unknown>) =>
    JSON.parse(JSON.stringify(config).replace(/"diff_ids":\["sha256:..../, '"diff_ids":["sha256:0000'));
  const layout = await written({ ...twoPlatforms, change: { config: wrong } });
  await refused(
    layout,
    "diff-id",
    /unpacks to sha256:[0-9a-f]+, but the image's config says sha256:0000/,
    true,
  );
  await expect(readLayout(layout.folder)).resolves.toMatchObject({ index: layout.index });
});

test("rejects another number of diff_ids than of layers", async () => {
  const fewer = (config: Record<string, unknown>) => ({
    ...config,
    rootfs: { type: "layers", diff_ids: [] },
  });
  await refused(
    await written({ ...twoPlatforms, change: { config: fewer } }),
    "malformed",
    /diff_ids has 0 entries/,
  );
});

test("distinguishes an intact layer that is no gzip stream from a damaged one", async () => {
  const asGzip = (manifest: Record<string, unknown>) => {
    const { config, ...rest } = manifest;
    return { ...rest, config, layers: [config].map((layer) => ({ ...Object(layer), mediaType: gzip })) };
  };
  const gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
  const layout = await written({
    platforms: { "linux/amd64": { layers: [[{ name: "a" }]] } },
    change: { manifest: asGzip },
  });
  await refused(layout, "diff-id", /can't be unpacked/, true);
  await flip(layoutBlobPath(layout.folder, layout.configs[0] ?? layout.index), 0);
  await refused(layout, "damaged", /its bytes have the digest/, true);
});

test("rejects JSON over the limit unread", async () => {
  const layout = await written();
  await truncate(join(layout.folder, "index.json"), 5 * 1024 * 1024);
  await refused(layout, "too-large", /5242880 bytes are too many/);
});

test("rejects a folder that is no layout", async () => {
  const layout = await written();
  await writeFile(join(layout.folder, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}');
  await refused(layout, "malformed", /expected \{"imageLayoutVersion":"1\.0\.0"\}/);
  await rm(join(layout.folder, "oci-layout"));
  await refused(layout, "missing", /oci-layout: is missing/);
});
