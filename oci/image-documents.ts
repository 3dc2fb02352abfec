import { z } from "zod";
import { findDuplicateMember } from "../lib/text/duplicate-member.ts";
import { type Descriptor, descriptorOf, mediaTypes } from "./descriptor.ts";
import { type Digest, digestSchema } from "./digest.ts";
import { LayoutError } from "./layout-error.ts";

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

/**
 * More platforms than there are, and more layers than a container can have. Both are read before
 * signatures are.
 */
const most = { manifests: 64, layers: 1024 };

/**
 * The members that an image index may have; any other is an error. With a manifest's members in it,
 * one client takes the document for an index and another for a manifest, of layers that nobody has
 * signed (CVE-2021-41190). Go's clients also take `Manifests` for `manifests`.
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
  annotations,
});

const configSchema = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digestSchema) }),
});

/** A platform's manifest, parsed. */
export type ManifestDocument = z.infer<typeof manifestSchema>;

/** An image's config, parsed. Members without a rule here are kept as they are. */
export type ConfigDocument = z.infer<typeof configSchema>;

/** An entry of an image index, parsed. */
export type IndexEntry = Descriptor & { readonly platform: string };

/**
 * Parses an image index: at least one platform, each once, and image manifests only.
 * @param path names the document in errors
 * @throws LayoutError
 */
export function parseIndex(bytes: Buffer, path: string, digest: Digest | null): readonly IndexEntry[] {
  const index = parseJson(imageIndexSchema, bytes, path, digest);
  requireUniqueMembers(bytes, path, digest);
  requireMediaType(index.mediaType ?? mediaTypes.index, [mediaTypes.index], path, digest, "the index itself");
  const entries = index.manifests.map((entry, position) => {
    const where = `manifests[${position}]`;
    if (isAttestation(entry)) throw attestationError(path, digest, where);
    requireMediaType(entry.mediaType, [mediaTypes.manifest], path, digest, where);
    if (entry.platform === undefined) throw malformed(path, digest, `${where}.platform is missing`);
    return { ...descriptorOf(entry), platform: formatPlatform(entry.platform) };
  });
  const platforms = entries.map(({ platform }) => platform);
  const twice = platforms.find((platform, position) => platforms.indexOf(platform) !== position);
  if (twice !== undefined) throw malformed(path, digest, `two manifests are for ${twice}`);
  if (entries.length === 0) throw malformed(path, digest, "the image index lists no manifest");
  return entries;
}

/**
 * Parses a platform's manifest.
 * @param path names the document in errors
 * @throws LayoutError
 */
export function parseManifest(bytes: Buffer, path: string, digest: Digest | null): ManifestDocument {
  const manifest = parseJson(manifestSchema, bytes, path, digest);
  const mediaType = manifest.mediaType ?? mediaTypes.manifest;
  requireMediaType(mediaType, [mediaTypes.manifest], path, digest, "mediaType");
  requireMediaType(manifest.config.mediaType, [mediaTypes.config], path, digest, "config");
  for (const [position, layer] of manifest.layers.entries())
    requireMediaType(layer.mediaType, mediaTypes.layers, path, digest, `layers[${position}]`);
  return manifest;
}

/**
 * Parses an image's config.
 * @param path names the document in errors
 * @throws LayoutError
 */
export function parseImageConfig(bytes: Buffer, path: string, digest: Digest | null): ConfigDocument {
  return parseJson(configSchema, bytes, path, digest);
}

/**
 * Parses the `index.json` of a layout folder, and returns the one image in it.
 * @throws LayoutError
 */
export function parseLayoutIndex(bytes: Buffer, path: string): Descriptor {
  const { manifests } = parseJson(indexSchema, bytes, path, null);
  const [image] = manifests;
  if (image === undefined || manifests.length > 1) {
    const message = `${path}: lists ${manifests.length} images, expected exactly one`;
    throw new LayoutError("several-images", path, null, message);
  }
  if (image.mediaType === mediaTypes.manifest) {
    throw new LayoutError(
      "media-type",
      path,
      image.digest,
      `${path}: names a manifest without an image index; build with --opt build-arg:BUILDKIT_MULTI_PLATFORM=1`,
    );
  }
  requireMediaType(image.mediaType, [mediaTypes.index], path, image.digest, "manifests[0]");
  return descriptorOf(image);
}

function formatPlatform({ os, architecture, variant }: z.infer<typeof platformSchema>): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

function isAttestation(entry: z.infer<typeof indexSchema>["manifests"][number]): boolean {
  return entry.platform?.os === "unknown" || entry.annotations?.["vnd.docker.reference.type"] !== undefined;
}

function attestationError(path: string, digest: Digest | null, where: string): LayoutError {
  return new LayoutError(
    "attestation",
    path,
    digest,
    `${path}: ${where} is an attestation manifest (platform unknown/unknown), which makes the image's digest differ ` +
      "from StageX's; build without provenance and SBOM (--provenance=false)",
  );
}

function requireMediaType(
  found: string,
  allowed: readonly string[],
  path: string,
  digest: Digest | null,
  where: string,
): void {
  if (allowed.includes(found)) return;
  const message = `${path}: ${where} has the media type ${quote(found)}, expected ${allowed.join(" or ")}`;
  throw new LayoutError("media-type", path, digest, message);
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
    throw malformed(path, digest, "is not JSON");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue === undefined || issue.path.length === 0 ? "the document" : issue.path.join(".");
  throw malformed(path, digest, `${field}: ${issue?.message ?? "malformed"}`);
}

/**
 * Checks that no object has a member twice, of which one reader takes the first and another the
 * last. An index needs this because only the manifests in it are signed.
 */
function requireUniqueMembers(bytes: Buffer, path: string, digest: Digest | null): void {
  let problem: string;
  try {
    const twice = findDuplicateMember(bytes.toString("utf8"));
    if (twice === undefined) return;
    problem = `has the member ${quote(twice)} twice in one object`;
  } catch {
    // A member that comes twice can hide a value from JSON.parse that is nested too deep to read.
    problem = "can't be read by every JSON reader";
  }
  throw malformed(path, digest, problem);
}

function malformed(path: string, digest: Digest | null, problem: string): LayoutError {
  return new LayoutError("malformed", path, digest, `${path}: ${problem}`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
