import { posix } from "node:path";
import type { ContextFile } from "./build-plan.ts";
import type { TreeProblem } from "./tree-error.ts";

/** The folders of a tree. Other folders of a repository do not belong to it. */
export const treeFolders = ["packages", "digests"];

/** A file that belongs to a tree. */
export type TreeFile = {
  /** Relative to the tree, with `/`. */
  readonly path: string;
  readonly mode: ContextFile["mode"];
};

/**
 * The files of a tree, from a working tree (tree/working-tree.ts) or a revision's objects
 * (tree/git-tree.ts). The content of a symbolic link is its target.
 */
export type TreeSource = {
  /** The tree's name in messages: its folder, or folder and revision. */
  readonly root: string;
  /** Sorted by path. */
  readonly files: readonly TreeFile[];
  /** Problems of the list itself, which the reader reports with all others. */
  readonly problems: readonly TreeProblem[];
  /**
   * Reads a file whole.
   * @param limit in bytes
   * @throws RegularFileError if it has more bytes, or is no longer a regular file
   * @throws Error if the file is not in the list or cannot be read
   */
  read(path: string, limit: number): Promise<Uint8Array>;
  /** Returns the content's sha256, 64 hex digits. Only a piece of it is in memory at a time. */
  sha256(path: string): Promise<string>;
};

/** The size limit of a Containerfile or digests file, in bytes. StageX's largest have 20 KB. */
export const maxTextBytes = 1 << 20;

/** The size limit of a package.toml, in bytes. StageX's largest has 60 KB. */
export const maxTomlBytes = 1 << 18;

/** The size limit of a context's file, in bytes; sources have the same. */
export const maxContextFileBytes = 8 * 1024 ** 3;

/** Checks whether a symbolic link at this path leads out of the tree. */
export function isOutsideTree(path: string, target: string): boolean {
  const end = posix.join(posix.dirname(path), target);
  return posix.isAbsolute(target) || end === ".." || end.startsWith("../");
}

/**
 * Returns the files of each `packages/<stage>/<name>/` with a package.toml, paths relative to it.
 * Ignores a Containerfile without one, as StageX's generator does: several releases have packages
 * that are half removed.
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
