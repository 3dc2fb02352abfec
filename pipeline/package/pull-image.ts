import type { Image } from "../../oci/image.ts";
import { LayoutError } from "../../oci/layout-error.ts";
import type { Registry } from "../../oci/registry/registry.ts";
import { RegistryError } from "../../oci/registry/registry-error.ts";
import type { Context } from "../context/context.ts";
import type { Operation } from "../operation.ts";

/**
 * Pulls an image into the store from the first configured registry that has it, by digest, every
 * blob verified.
 * @param onFailure called for each registry that lacks the image or has another under its digest
 * @returns undefined where no registry has it
 */
export async function pullImage(
  context: Context,
  wanted: Parameters<Registry["pull"]>[0],
  onFailure: (error: RegistryError | LayoutError) => void,
  operation: Operation,
): Promise<Image | undefined> {
  const store = await context.store();
  for (const registry of await context.registries(operation)) {
    try {
      return await context.pullLimit(() => {
        operation.progress(`pulling from ${registry.address}`);
        return registry.pull(wanted, { store, scratch: context.paths.scratch, signal: operation.signal });
      });
    } catch (error) {
      if (!(error instanceof RegistryError) && !(error instanceof LayoutError)) throw error;
      onFailure(error);
    }
  }
  return undefined;
}
