import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { FolderBounds } from "../../lib/fs/prune-folder.ts";

/** Leftovers of killed processes are removed after a day; no blob takes that long to come in. */
export const leftoverBounds: FolderBounds = {
  count: Number.POSITIVE_INFINITY,
  bytes: Number.POSITIVE_INFINITY,
  maxAge: 24 * 60 * 60 * 1000,
};

/** Returns a new path for a file of the store that is not whole yet. */
export function temporaryPath(root: string): string {
  return join(root, "tmp", randomUUID());
}
