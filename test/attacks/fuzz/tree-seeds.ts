import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const example = fileURLToPath(new URL("../../../examples/seed-tree", import.meta.url));

/** Returns the files of this name in the example tree, and in the one that STAGEX_TREE names. */
export function treeSeeds(matches: (path: string) => boolean): Uint8Array[] {
  const roots = [example, ...(process.env.STAGEX_TREE ? [process.env.STAGEX_TREE] : [])];
  return roots.flatMap((root) =>
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.parentPath.includes("/.git"))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter(matches)
      .map((path) => readFileSync(path)),
  );
}

/** The files with this name. */
export function named(name: string): (path: string) => boolean {
  return (path) => basename(path) === name;
}

/** A text as the tree's reader decodes it; undefined where it is none, as it refuses that itself. */
export function textOf(input: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input);
  } catch {
    return undefined;
  }
}
