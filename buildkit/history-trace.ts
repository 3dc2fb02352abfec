import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readRegularFile } from "../lib/regular-file.ts";
import { type Digest, digestOf, digestSchema, hexOf } from "../oci/digest.ts";

/** In bytes: no index, manifest or configuration of an image is larger. */
const largest = 8 * 1024 * 1024;

const descriptor = z.object({ digest: digestSchema });
/** What of an index, a manifest or a configuration leads to the configurations. */
const documentSchema = z.object({
  manifests: z.array(descriptor).optional(),
  config: z.unknown().optional(),
  layers: z.unknown().optional(),
});

/**
 * Takes a text out of the configurations of a layout that BuildKit has just exported: of the history that a stage inherits, where a
 * step's command was run by another. All else stays byte for byte, so that the digests are those of the recipe.
 */
export async function removeFromHistory(layout: string, trace: string): Promise<void> {
  const path = join(layout, "index.json");
  const text = await textOf(path);
  const cleaned = await cleanedDocument(layout, text, trace);
  if (cleaned !== text) await writeFile(path, cleaned);
}

async function cleanedDocument(layout: string, text: string, trace: string): Promise<string> {
  const { manifests = [], config, layers } = documentSchema.parse(JSON.parse(text));
  // A manifest has layers beside its `config`, and a configuration has none.
  const isManifest = Array.isArray(layers);
  if (manifests.length === 0 && !isManifest) return text.replaceAll(trace, "");
  let cleaned = text;
  for (const { digest } of isManifest ? [descriptor.parse(config)] : manifests) {
    const path = blobPath(layout, digest);
    const before = await textOf(path);
    const after = await cleanedDocument(layout, before, trace);
    if (after === before) continue;
    await writeFile(blobPath(layout, digestOf(after)), after, { mode: 0o644 });
    await rm(path);
    cleaned = withReference(cleaned, digest, after);
  }
  return cleaned;
}

/** The document with the other blob in the place of the one with this digest. BuildKit writes a descriptor's size after its digest. */
function withReference(text: string, digest: Digest, blob: string): string {
  const at = text.indexOf(`"${digest}"`);
  const rest = text.slice(at + digest.length + 2);
  const [written, before] = /^(,\s*"size":\s*)\d+/.exec(rest) ?? [];
  if (at === -1 || written === undefined)
    throw new Error(`the builder's layout names ${digest} in a way of its own; use the pinned BuildKit`);
  const size = `${before}${Buffer.byteLength(blob)}`;
  return `${text.slice(0, at)}"${digestOf(blob)}"${size}${rest.slice(written.length)}`;
}

function blobPath(layout: string, digest: Digest): string {
  return join(layout, "blobs/sha256", hexOf(digest));
}

async function textOf(path: string): Promise<string> {
  return (await readRegularFile(path, largest)).toString("utf8");
}
