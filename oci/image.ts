import { z } from "zod";
import { findDuplicateMember } from "../lib/text/duplicate-member.ts";
import { type Digest, digestSchema } from "./digest.ts";
import { LayoutError } from "./layout-error.ts";

/** Media types of the OCI image spec (media-types.md). Docker's own are not among them: StageX exports OCI types. */
export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layers: [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
  ],
} as const;

/** What a document says of a blob (OCI image-spec, descriptor.md); `size` is in bytes. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
};

/** One platform's image. */
export type ImageManifest = Descriptor & {
  /** Such as `linux/amd64` or `linux/arm/v7`. */
  readonly platform: string;
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly Descriptor[];
};

/** An image as StageX exports it: an index over one manifest for each platform. */
export type Image = {
  /** Digest of the image index: what BuildKit calls `containerimage.digest`. */
  readonly index: Digest;
  /** The index's size in bytes. */
  readonly indexSize: number;
  /** In the index's own order. The first one's digest is what StageX publishes and signs. */
  readonly manifests: readonly ImageManifest[];
};

/** Where an image's bytes come from. Both must throw a {@link LayoutError} rather than pass on a wrong byte. */
export type BlobReader = {
  /** The verified bytes of a JSON blob. */
  readDocument(blob: Descriptor): Promise<Buffer>;
  /** Verifies a layer; `diffId` is the digest its config gives for it unpacked. */
  verifyLayer(blob: Descriptor, diffId: Digest): Promise<void>;
  /** How errors name the blob. */
  pathOf(digest: Digest): string;
};

const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()).optional(),
});

const platformSchema = z.object({
  os: z.string().min(1),
  architecture: z.string().min(1),
  variant: z.string().min(1).optional(),
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptorSchema.extend({ platform: platformSchema.optional() })),
});

const annotations = z.record(z.string(), z.string()).optional();

/** More platforms than there are, and more layers than a container can have: each is read before signatures are. */
const most = { manifests: 64, layers: 1024 };

/**
 * What an image's own index may say, and nothing else. With a manifest's members in it, one client takes the document for an index and
 * another for a manifest, of layers that nobody has signed (CVE-2021-41190); and Go's clients take `Manifests` for `manifests`.
 */
const imageIndexSchema = z.strictObject({
  ...indexSchema.shape,
  annotations,
  manifests: z
    .array(
      z.strictObject({
        ...descriptorSchema.shape,
        platform: z
          .strictObject({
            ...platformSchema.shape,
            "os.version": z.string().optional(),
            "os.features": z.array(z.string()).optional(),
            features: z.array(z.string()).optional(),
          })
          .optional(),
      }),
    )
    .max(most.manifests),
});

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(most.layers),
  annotations: z.record(z.string(), z.string()).optional(),
});

const configSchema = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digestSchema) }),
});

/** A platform's manifest, parsed. */
export type ManifestDocument = z.infer<typeof manifestSchema>;
/** An image's config, parsed; members that no rule of ours is about are kept as they are. */
export type ConfigDocument = z.infer<typeof configSchema>;
/** One entry of the image index, parsed. */
export type IndexEntry = Descriptor & { readonly platform: string };

/** How many layers are verified at once. Unpacking is done beside the main thread, hashing is not: a few fill each other's gaps. */
const layersAtOnce = 4;

/** Reads a whole image from its index's descriptor down; every byte of it has been verified when it returns. */
export async function readImage(index: Descriptor, blobs: BlobReader): Promise<Image> {
  const entries = parseIndex(await blobs.readDocument(index), blobs.pathOf(index.digest), index.digest);
  const manifests: ImageManifest[] = [];
  const layers = new Map<string, [Descriptor, Digest]>();
  for (const entry of entries) {
    const { manifest, diffIds } = await readManifest(entry, blobs);
    for (const pair of zip(manifest.layers, diffIds)) layers.set(`${pair[0].digest} ${pair[1]}`, pair);
    manifests.push(manifest);
  }
  await severalAtOnce([...layers.values()], ([layer, diffId]) => blobs.verifyLayer(layer, diffId));
  return { index: index.digest, indexSize: index.size, manifests };
}

/** After an error nothing more is begun, and what is under way ends first. */
async function severalAtOnce<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  let hasFailed = false;
  const workers = Array.from({ length: layersAtOnce }, async () => {
    for (const item of queue) {
      if (hasFailed) return;
      await work(item).catch((error: unknown) => {
        hasFailed = true;
        throw error;
      });
    }
  });
  for (const ended of await Promise.allSettled(workers)) if (ended.status === "rejected") throw ended.reason;
}

/**
 * Reads one platform's manifest and config, verified; its layers are only named.
 * @param entry `platform` is null where no index names it, and then the config's word is taken
 */
export async function readManifest(
  entry: Descriptor & { readonly platform: string | null },
  blobs: Pick<BlobReader, "readDocument" | "pathOf">,
): Promise<{ manifest: ImageManifest; diffIds: readonly Digest[] }> {
  const at = blobs.pathOf(entry.digest);
  const document = parseManifest(await blobs.readDocument(entry), at, entry.digest);
  const config = descriptor(document.config);
  const layers = document.layers.map(descriptor);
  const configAt = blobs.pathOf(config.digest);
  const { os, architecture, rootfs } = parseConfig(await blobs.readDocument(config), configAt, config.digest);
  const diffIds = rootfs.diff_ids;
  // The digest that is signed covers the config, not what an index says beside it: with two platforms exchanged all digests are right.
  const platform = entry.platform ?? `${os}/${architecture}`;
  if (!isFor(platform, os, architecture)) {
    throw new LayoutError(
      "malformed",
      at,
      entry.digest,
      `${at}: the index has it for ${platform}, but its config is for ${os}/${architecture}`,
    );
  }
  if (diffIds.length !== layers.length) {
    throw new LayoutError(
      "malformed",
      configAt,
      config.digest,
      `${configAt}: rootfs.diff_ids has ${diffIds.length} entries, but the manifest ${entry.digest} has ${layers.length} layers`,
    );
  }
  return { manifest: { ...descriptor(entry), platform, config, layers }, diffIds };
}

/** Whether a platform, `linux/arm64/v8`, is of this system and architecture; configs seldom tell the variant. */
export function isFor(platform: string, os: string, architecture: string): boolean {
  return platform === `${os}/${architecture}` || platform.startsWith(`${os}/${architecture}/`);
}

/** Parses an image index: at least one platform, each once, and nothing but image manifests. */
export function parseIndex(bytes: Buffer, path: string, digest: Digest | null): readonly IndexEntry[] {
  const index = parseJson(imageIndexSchema, bytes, path, digest);
  refuseDuplicates(bytes, path, digest);
  expectMediaType(index.mediaType ?? mediaTypes.index, [mediaTypes.index], path, digest, "the index itself");
  const entries = index.manifests.map((entry, position) => {
    const where = `manifests[${position}]`;
    if (isAttestation(entry)) throw attestation(path, digest, where);
    expectMediaType(entry.mediaType, [mediaTypes.manifest], path, digest, where);
    if (entry.platform === undefined) {
      throw new LayoutError("malformed", path, digest, `${path}: ${where}.platform is missing`);
    }
    return { ...descriptor(entry), platform: platformText(entry.platform) };
  });
  const platforms = entries.map((entry) => entry.platform);
  const twice = platforms.find((platform, position) => platforms.indexOf(platform) !== position);
  if (twice !== undefined) {
    throw new LayoutError("malformed", path, digest, `${path}: two manifests are for ${twice}`);
  }
  if (entries.length === 0) {
    throw new LayoutError("malformed", path, digest, `${path}: the image index lists no manifest`);
  }
  return entries;
}

/** Parses a platform's manifest. */
export function parseManifest(bytes: Buffer, path: string, digest: Digest | null): ManifestDocument {
  const manifest = parseJson(manifestSchema, bytes, path, digest);
  expectMediaType(
    manifest.mediaType ?? mediaTypes.manifest,
    [mediaTypes.manifest],
    path,
    digest,
    "mediaType",
  );
  expectMediaType(manifest.config.mediaType, [mediaTypes.config], path, digest, "config");
  manifest.layers.forEach((layer, position) => {
    expectMediaType(layer.mediaType, mediaTypes.layers, path, digest, `layers[${position}]`);
  });
  return manifest;
}

/** Parses an image's config. */
export function parseConfig(bytes: Buffer, path: string, digest: Digest | null): ConfigDocument {
  return parseJson(configSchema, bytes, path, digest);
}

/** Parses `index.json` of a layout folder: the one image in it. */
export function parseLayoutIndex(bytes: Buffer, path: string): Descriptor {
  const index = parseJson(indexSchema, bytes, path, null);
  const [image, ...more] = index.manifests;
  if (image === undefined || more.length > 0) {
    throw new LayoutError(
      "several-images",
      path,
      null,
      `${path}: lists ${index.manifests.length} images, expected exactly one`,
    );
  }
  if (image.mediaType === mediaTypes.manifest) {
    throw new LayoutError(
      "media-type",
      path,
      image.digest,
      `${path}: names a manifest without an image index; build with --opt build-arg:BUILDKIT_MULTI_PLATFORM=1`,
    );
  }
  expectMediaType(image.mediaType, [mediaTypes.index], path, image.digest, "manifests[0]");
  return descriptor(image);
}

/** Whether an image is for these platforms, each of them and no other: a manifest that nobody asked for is nobody's word. */
export function hasExactPlatforms(
  { manifests }: { readonly manifests: readonly Pick<ImageManifest, "platform">[] },
  platforms: readonly string[],
): boolean {
  return (
    manifests.length === platforms.length && manifests.every(({ platform }) => platforms.includes(platform))
  );
}

/**
 * Requires that an image is for these platforms and no other.
 * @throws LayoutError that tells which it is for
 */
export function requirePlatforms(image: Image, platforms: readonly string[], path: string): void {
  if (hasExactPlatforms(image, platforms)) return;
  const found = image.manifests.map(({ platform }) => platform).join(", ");
  const message = `${path}: is for ${found}, but was asked for ${platforms.join(", ")}, and no other`;
  throw new LayoutError("malformed", path, image.index, message);
}

/** Every blob of an image, children before their parents, each once. */
export function blobsOf(image: Image): readonly Descriptor[] {
  const blobs = image.manifests.flatMap((manifest) => [
    ...manifest.layers,
    manifest.config,
    descriptor(manifest),
  ]);
  blobs.push({ mediaType: mediaTypes.index, digest: image.index, size: image.indexSize });
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

/** Each layer with its diff_id; their numbers have been found equal. */
export function zip<A, B>(first: readonly A[], second: readonly B[]): [A, B][] {
  return first.flatMap((a, position) => {
    const b = second[position];
    return b === undefined ? [] : [[a, b] satisfies [A, B]];
  });
}

function descriptor({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function platformText(platform: z.infer<typeof platformSchema>): string {
  const { os, architecture, variant } = platform;
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

function isAttestation(entry: z.infer<typeof indexSchema>["manifests"][number]): boolean {
  return entry.platform?.os === "unknown" || entry.annotations?.["vnd.docker.reference.type"] !== undefined;
}

function attestation(path: string, digest: Digest | null, where: string): LayoutError {
  return new LayoutError(
    "attestation",
    path,
    digest,
    `${path}: ${where} is an attestation manifest (platform unknown/unknown), which makes the image's digest differ ` +
      "from StageX's; build without provenance and SBOM (--provenance=false)",
  );
}

function expectMediaType(
  found: string,
  allowed: readonly string[],
  path: string,
  digest: Digest | null,
  where: string,
): void {
  if (allowed.includes(found)) return;
  throw new LayoutError(
    "media-type",
    path,
    digest,
    `${path}: ${where} has the media type ${quote(found)}, expected ${allowed.join(" or ")}`,
  );
}

function parseJson<Schema extends z.ZodType>(
  schema: Schema,
  bytes: Buffer,
  path: string,
  digest: Digest | null,
): z.infer<Schema> {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString("utf8"));
  } catch {
    throw new LayoutError("malformed", path, digest, `${path}: is not JSON`);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue === undefined || issue.path.length === 0 ? "the document" : issue.path.join(".");
  throw new LayoutError("malformed", path, digest, `${path}: ${field}: ${issue?.message ?? "malformed"}`);
}

/** Of a member that comes twice, one reader takes the first and another the last: nobody signs an index, only the manifests in it. */
function refuseDuplicates(bytes: Buffer, path: string, digest: Digest | null): void {
  let fault: string;
  try {
    const twice = findDuplicateMember(bytes.toString("utf8"));
    if (twice === undefined) return;
    fault = `has the member ${quote(twice)} twice in one object`;
  } catch {
    // What a member that comes twice hides from JSON.parse can be nested deeper than there is room for.
    fault = "can't be read by every JSON reader";
  }
  throw new LayoutError("malformed", path, digest, `${path}: ${fault}`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
