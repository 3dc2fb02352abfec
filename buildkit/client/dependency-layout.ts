import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readRegularFileSync } from "../../lib/fs/regular-file.ts";
import { type Digest, digestSchema, hexOf } from "../../oci/digest.ts";

const descriptor = z.object({ digest: digestSchema });

/** An image index or manifest (OCI image-spec, image-index.md and manifest.md): what is followed from it. */
const nodeSchema = z.union([
  z.object({ manifests: z.array(descriptor) }),
  z.object({ config: descriptor, layers: z.array(descriptor) }),
]);

/** In bytes: no JSON document of an image has more. */
const documentLimit = 4 * 1024 * 1024;

/** An OCI layout with the dependencies of one build and nothing else, and the layers it holds of each, by its name. */
export type DependencyLayout = {
  readonly folder: string;
  readonly layers: ReadonlyMap<string, ReadonlySet<Digest>>;
};

/**
 * Makes a layout in `folder` whose blobs are symbolic links into the store. buildctl lets the daemon read *and delete* in a layout it
 * is given: of the store, the daemon of another machine gets to see no more than the images that this build needs, and what it deletes
 * are links. A digest may be a manifest's or an index's. Throws when the store lacks one, naming the dependency.
 */
export function linkDependencies(
  store: string,
  dependencies: Readonly<Record<string, Digest>>,
  folder: string,
): DependencyLayout {
  const blobs = join(folder, "blobs", "sha256");
  // At once: it is some dozens of links, and as many ways through the thread pool take longer.
  mkdirSync(blobs, { recursive: true });
  const layers = new Map<string, Set<Digest>>();
  const linked = new Set<Digest>();
  const inStore = (blob: Digest) => join(store, "blobs", "sha256", hexOf(blob));
  const place = (blob: Digest) => {
    if (linked.has(blob)) return;
    linked.add(blob);
    symlinkSync(inStore(blob), join(blobs, hexOf(blob)));
  };
  const follow = (root: Digest, own: Set<Digest>): void => {
    place(root);
    const node = nodeSchema.parse(
      JSON.parse(readRegularFileSync(inStore(root), documentLimit).toString("utf8")),
    );
    if ("manifests" in node) {
      for (const manifest of node.manifests) follow(manifest.digest, own);
      return;
    }
    place(node.config.digest);
    for (const layer of node.layers) {
      place(layer.digest);
      own.add(layer.digest);
    }
  };
  for (const [name, root] of Object.entries(dependencies)) {
    const own = new Set<Digest>();
    layers.set(name, own);
    try {
      follow(root, own);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`the dependency ${name} (${root}) can't be read from the store ${store}: ${reason}`, {
        cause: error,
      });
    }
  }
  return { folder, layers };
}
