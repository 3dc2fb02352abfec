import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import { type Digest, digestOf, hexOf } from "../../../oci/digest.ts";

/** A file of a layer: a tar header's members, and its content. */
export type LayerFile = Partial<Omit<Header, "size">> & { name: string; content?: string | Buffer };

/** The content of a layout: files of each layer by platform. */
export type LayoutRecipe = {
  readonly platforms: Readonly<Record<string, { layers: readonly (readonly LayerFile[])[]; env?: string[] }>>;
  readonly version?: string;
  /** Changes documents before they are written, for layouts that are wrong on purpose. */
  readonly change?: {
    index?: (index: Record<string, unknown>) => unknown;
    manifest?: (manifest: Record<string, unknown>) => unknown;
    config?: (config: Record<string, unknown>) => unknown;
    layoutIndex?: (index: Record<string, unknown>) => unknown;
  };
  readonly gzipLevel?: number;
};

type Described = { mediaType: string; digest: Digest; size: number };
/** The digests of a written layout, by kind. */
export type WrittenLayout = {
  folder: string;
  index: Digest;
  manifests: Digest[];
  configs: Digest[];
  layers: Digest[];
};

/** Writes an OCI image layout of only these files, as BuildKit's `type=oci,tar=false` does. */
export async function writeLayout(folder: string, recipe: LayoutRecipe): Promise<WrittenLayout> {
  const { change = {} } = recipe;
  const written: WrittenLayout = { folder, index: digestOf(""), manifests: [], configs: [], layers: [] };
  const blobs = join(folder, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Buffer): Promise<Described> => {
    const digest = digestOf(bytes);
    await writeFile(join(blobs, hexOf(digest)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const putJson = (mediaType: string, json: unknown) => put(mediaType, Buffer.from(JSON.stringify(json)));
  const same = (json: Record<string, unknown>): unknown => json;

  const entries = [];
  for (const [platform, { layers, env = ["PATH=/bin"] }] of Object.entries(recipe.platforms)) {
    const [os, architecture] = platform.split("/");
    const tars = await Promise.all(layers.map(tarOf));
    const descriptors = [];
    for (const tar of tars) {
      const bytes = gzipSync(tar, { level: recipe.gzipLevel ?? 6 });
      descriptors.push(await put("application/vnd.oci.image.layer.v1.tar+gzip", bytes));
    }
    const config = await putJson(
      "application/vnd.oci.image.config.v1+json",
      (change.config ?? same)({
        os,
        architecture,
        config: { Env: env },
        rootfs: { type: "layers", diff_ids: tars.map((tar) => digestOf(tar)) },
      }),
    );
    const manifest = await putJson(
      "application/vnd.oci.image.manifest.v1+json",
      (change.manifest ?? same)({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config,
        layers: descriptors,
        annotations: { "org.opencontainers.image.version": recipe.version ?? "1.0" },
      }),
    );
    written.manifests.push(manifest.digest);
    written.configs.push(config.digest);
    written.layers.push(...descriptors.map(({ digest }) => digest));
    entries.push({ ...manifest, platform: { os, architecture } });
  }
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const index = await putJson(
    mediaType,
    (change.index ?? same)({ schemaVersion: 2, mediaType, manifests: entries }),
  );
  const layoutIndex = (change.layoutIndex ?? same)({
    schemaVersion: 2,
    mediaType,
    manifests: [{ ...index, annotations: { "org.opencontainers.image.ref.name": recipe.version ?? "1.0" } }],
  });
  await writeFile(join(folder, "index.json"), JSON.stringify(layoutIndex));
  await writeFile(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return { ...written, index: index.digest };
}

async function tarOf(files: readonly LayerFile[]): Promise<Buffer> {
  const tar = pack();
  for (const { content = "", ...header } of files) {
    tar.entry({ mtime: new Date(1000), mode: 0o644, ...header }, content);
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) if (chunk instanceof Uint8Array) chunks.push(chunk);
  return Buffer.concat(chunks);
}
