import { posix } from "node:path";
import type { ContextFile } from "./build-plan.ts";
import type { TreeProblem } from "./tree-error.ts";

/** The folders of a tree; the rest of a repository is no part of it. */
export const treeFolders = ["packages", "digests"];

/** A file that belongs to a tree. */
export type TreeFile = {
  /** Relative to the tree, with `/`. */
  readonly path: string;
  readonly mode: ContextFile["mode"];
};

/**
 * The files of a tree, wherever they come from: a working tree (tree/working-tree.ts), or the objects of a revision (tree/git-tree.ts).
 * A symbolic link's content is its target.
 */
export type TreeSource = {
  /** What to call the tree in messages: its folder, or folder and revision. */
  readonly root: string;
  /** Sorted by path. */
  readonly files: readonly TreeFile[];
  /** What is wrong with the list itself, for the reader to report with all else. */
  readonly problems: readonly TreeProblem[];
  /**
   * Reads a file whole.
   * @param limit in bytes
   * @throws RegularFileError if it has more bytes, or is no regular file any more
   * @throws Error if the file is not in the list or cannot be read
   */
  read(path: string, limit: number): Promise<Uint8Array>;
  /** sha256 of the content, 64 hex digits; however large it is, no more than a piece of it is in memory. */
  sha256(path: string): Promise<string>;
};

/** In bytes: no Containerfile and no digests file has more. StageX's largest have 20 KB. */
export const maxTextBytes = 1 << 20;

/** In bytes: no package.toml has more. StageX's largest has 60 KB. */
export const maxTomlBytes = 1 << 18;

/** In bytes: no file of a context has more, as no source has. */
export const maxContextFileBytes = 8 * 1024 ** 3;

/** Whether a symbolic link at this path leads out of the tree. */
export function isOutsideTree(path: string, target: string): boolean {
  const end = posix.join(posix.dirname(path), target);
  return posix.isAbsolute(target) || end === ".." || end.startsWith("../");
}

/**
 * Returns the files of each `packages/<stage>/<name>/` with a package.toml, paths relative to it. A Containerfile without one
 * is passed over, as StageX's generator does: several releases carry packages half removed.
 */
export function packageFolders(list: readonly TreeFile[]): Map<string, TreeFile[]> {
  const folders = new Map<string, TreeFile[]>();
  for (const { path, mode } of list) {
    const [, folder, inner] = /^(packages\/[^/]+\/[^/]+)\/([\s\S]+)$/.exec(path) ?? [];
    if (folder === undefined || inner === undefined) continue;
    const files = folders.get(folder) ?? [];
    folders.set(folder, files);
    files.push({ path: inner, mode });
  }
  return new Map([...folders].filter(([, files]) => files.some(({ path }) => path === "package.toml")));
}
