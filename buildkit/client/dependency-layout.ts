import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readRegularFileSync } from "../../lib/fs/regular-file.ts";
import { type Digest, digestSchema, hexOf } from "../../oci/digest.ts";

const descriptor = z.object({ digest: digestSchema });

/**
 * The references of an image index or manifest (OCI image-spec, image-index.md and manifest.md).
 */
const nodeSchema = z.union([
  z.object({ manifests: z.array(descriptor) }),
  z.object({ config: descriptor, layers: z.array(descriptor) }),
]);

/** In bytes: no JSON document of an image is larger. */
const documentLimit = 4 * 1024 * 1024;

/**
 * An OCI layout with nothing but the dependencies of one build, and the layers of each, by its
 * name.
 */
export type DependencyLayout = {
  readonly folder: string;
  readonly layers: ReadonlyMap<string, ReadonlySet<Digest>>;
};

/**
 * Makes a layout in `folder` whose blobs are symbolic links into the store. buildctl lets the
 * daemon read *and delete* in a layout that it is given. So the daemon of another machine sees no
 * more of the store than the images that this build needs, and deletes links only. A digest may be
 * a manifest's or an index's.
 * @throws Error that names the dependency, where the store lacks a document of it
 */
export function linkDependencies(
  store: string,
  dependencies: Readonly<Record<string, Digest>>,
  folder: string,
): DependencyLayout {
  const blobs = join(folder, "blobs", "sha256");
  // Synchronous: for some dozens of links the thread pool would take longer.
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
