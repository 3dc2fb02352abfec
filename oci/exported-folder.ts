import { join } from "node:path";
import { RegularFileError, readRegularFileSync } from "../lib/fs/regular-file.ts";
import { jsonLimit } from "./blob.ts";
import type { Digest } from "./digest.ts";
import { parseLayoutIndex } from "./image.ts";
import { LayoutError } from "./layout-error.ts";

/**
 * Reads which image's index a folder names, as {@link Store.export} lays it out; null where it names none. Its blobs are not looked at.
 * Read at once: a preview asks it of every image of a release.
 */
export function readExportedIndex(folder: string): Digest | null {
  const path = join(folder, "index.json");
  try {
    return parseLayoutIndex(readRegularFileSync(path, jsonLimit), path).digest;
  } catch (error) {
    if (error instanceof LayoutError || error instanceof RegularFileError) return null;
    const isAbsent =
      error instanceof Error && "code" in error && ["ENOENT", "ENOTDIR"].includes(`${error.code}`);
    if (isAbsent) return null;
    throw error;
  }
}
