import { linkSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { syncToDisk } from "../../lib/fs/atomic-write.ts";
import { errorCode } from "../../lib/fs/error-code.ts";
import { copyBlob } from "../blob.ts";
import type { Descriptor } from "../descriptor.ts";
import { LayoutError } from "../layout-error.ts";

/** Error codes of link(2) where a file can only be copied. */
const needsCopy: readonly (string | undefined)[] = ["EXDEV", "EMLINK", "EPERM", "ENOTSUP"];

/**
 * Links a blob to another name without reading it; where that fails, copies and verifies it.
 * @returns whether it is linked, and so still unverified
 */
export async function linkOrCopyBlob(
  source: string,
  blob: Descriptor,
  target: string,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    linkSync(source, target);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") {
      throw new LayoutError("missing", source, blob.digest, `${source}: is missing`);
    }
    if (!needsCopy.includes(errorCode(error))) throw error;
    await copyBlob(source, blob, target, signal);
    await chmod(target, 0o444);
    await syncToDisk(target);
    return false;
  }
}
