import { withTempDir } from "../../lib/fs/temp-dir.ts";
import type { Image } from "../../oci/image.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import type { Registry } from "../../oci/registry/registry.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";

/**
 * Brings an image into the store from the first of the configured registries that has it, by digest and every blob verified.
 * @param refused told of each registry that does not have it, or has it wrongly
 * @returns undefined where none has
 */
export async function pullImage(
  context: Context,
  wanted: Parameters<Registry["pull"]>[0],
  refused: (error: RegistryError | LayoutError) => void,
  operation: Operation,
): Promise<Image | undefined> {
  const store = await context.store();
  for (const registry of await context.registries(operation)) {
    try {
      return await context.pullLimit(() => {
        operation.progress(`pulling from ${registry.address}`);
        return withTempDir(context.paths.scratch, (scratch) =>
          registry.pull(wanted, { store, scratch, signal: operation.signal }),
        );
      });
    } catch (error) {
      if (!(error instanceof RegistryError) && !(error instanceof LayoutError)) throw error;
      refused(error);
    }
  }
  return undefined;
}
