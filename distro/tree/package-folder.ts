import type { TreeProblem } from "../tree-error.ts";
import type { TreeFile } from "../tree-source.ts";

/**
 * The files of each `packages/<stage>/<name>/` with a package.toml, paths relative to it. A Containerfile without one
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

export function hasContainerfile(files: readonly TreeFile[]): boolean {
  return files.some(({ path }) => path === "Containerfile");
}

export function byPlace(left: TreeProblem, right: TreeProblem): number {
  if (left.file !== right.file) return left.file < right.file ? -1 : 1;
  return (left.line ?? 0) - (right.line ?? 0);
}
