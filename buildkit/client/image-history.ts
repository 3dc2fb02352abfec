import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { type Digest, digestOf, digestSchema, hexOf } from "../../oci/digest.ts";

/** In bytes: no index, manifest or configuration of an image is larger. */
const largest = 8 * 1024 * 1024;
/** A layout's index.json has manifests, or an index of them. */
const mostIndexes = 2;
/**
 * How many documents a layout may have: one of each platform has a manifest and a configuration.
 */
const mostDocuments = 200;

const descriptor = z.object({ digest: digestSchema });
/** The references of an index or a manifest to the configurations. */
const documentSchema = z.object({
  manifests: z.array(descriptor).optional(),
  config: z.unknown().optional(),
  layers: z.unknown().optional(),
});

/**
 * Removes a text from the configurations of a layout that BuildKit has just exported: from the
 * history that a stage inherits, where another command ran a step's command. All else stays byte
 * for byte, so that the digests are those of the recipe.
 */
export async function removeFromHistory(layout: string, trace: string): Promise<void> {
  const path = join(layout, "index.json");
  const text = await textOf(path);
  const cleaned = await cleanedDocument({ layout, trace, documents: 0 }, text, mostIndexes);
  if (cleaned !== text) await writeFile(path, cleaned);
}

/** A layout that is being cleaned, and the number of its documents that were read. */
type Cleaning = { readonly layout: string; readonly trace: string; documents: number };

/** @param indexes how many levels of indexes may follow */
async function cleanedDocument(cleaning: Cleaning, text: string, indexes: number): Promise<string> {
  const { layout, trace } = cleaning;
  const { manifests = [], config, layers } = documentSchema.parse(JSON.parse(text));
  const isManifest = Array.isArray(layers);
  if (!isManifest && indexes === 0)
    throw new Error(
      `the builder's layout has more than ${mostIndexes} nested indexes; use the pinned BuildKit`,
    );
  let cleaned = text;
  for (const { digest } of isManifest ? [descriptor.parse(config)] : manifests) {
    cleaning.documents += 1;
    if (cleaning.documents > mostDocuments)
      throw new Error(
        `the builder's layout has more than ${mostDocuments} documents; use the pinned BuildKit`,
      );
    const path = blobPath(layout, digest);
    const before = await textOf(path);
    const after = isManifest
      ? cleanedConfiguration(before, trace)
      : await cleanedDocument(cleaning, before, indexes - 1);
    if (after === before) continue;
    await writeFile(blobPath(layout, digestOf(after)), after, { mode: 0o644 });
    await rm(path);
    cleaned = withReference(cleaned, digest, after);
  }
  return cleaned;
}

/** The strings and the signs of a JSON text. */
const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/** The open brackets and members around the value of `history[].created_by`. */
const commandPlace = '{"history"[{"created_by"';
const commandDepth = 3;

/**
 * Removes a text from `history[].created_by` only: labels and the environment may contain it by
 * themselves.
 */
function cleanedConfiguration(text: string, trace: string): string {
  JSON.parse(text);
  const written = JSON.stringify(trace).slice(1, -1);
  /**
   * The open brackets; for an object also the name of its present member, once a colon has followed
   * it.
   */
  const open: { sign: string; member?: string | undefined }[] = [];
  let last = "";
  return text.replace(token, (found) => {
    const here = open.at(-1);
    if (found === "{" || found === "[") open.push({ sign: found });
    else if (found === "}" || found === "]") open.pop();
    else if (found === ":" && here) here.member = last;
    else if (found === "," && here) here.member = undefined;
    last = found;
    if (!found.startsWith('"') || open.length !== commandDepth) return found;
    const place = open.map(({ sign, member = "" }) => sign + member).join("");
    return place === commandPlace ? found.replaceAll(written, "") : found;
  });
}

/**
 * Replaces a descriptor's digest and size by those of another blob. BuildKit writes a descriptor's
 * size after its digest.
 */
function withReference(text: string, digest: Digest, blob: string): string {
  const at = text.indexOf(`"${digest}"`);
  const rest = text.slice(at + digest.length + 2);
  const [written, before] = /^(,\s*"size":\s*)\d+/.exec(rest) ?? [];
  if (at === -1 || written === undefined)
    throw new Error(`the builder's layout names ${digest} in an unknown way; use the pinned BuildKit`);
  const size = `${before}${Buffer.byteLength(blob)}`;
  return `${text.slice(0, at)}"${digestOf(blob)}"${size}${rest.slice(written.length)}`;
}

function blobPath(layout: string, digest: Digest): string {
  return join(layout, "blobs/sha256", hexOf(digest));
}

async function textOf(path: string): Promise<string> {
  return (await readRegularFile(path, largest)).toString("utf8");
}
