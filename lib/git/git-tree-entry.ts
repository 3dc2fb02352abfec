import { createHash, type Hash } from "node:crypto";
import { lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { hashRegularFileSync } from "../fs/regular-file.ts";

/** A file as a tree or an index of git records it. */
export type GitTreeEntry = {
  /** Octal, six digits. */
  readonly mode: string;
  readonly object: string;
  readonly path: string;
};

/** The kinds of git's objects. */
export type GitObjectType = "blob" | "tree" | "commit" | "tag";

/**
 * Returns git's name of an object.
 * @param like another name of the repository, whose length selects the hash
 */
export function hashGitObject(type: GitObjectType, content: Uint8Array, like: string): string {
  return beginName(type, content.length, like).update(content).digest("hex");
}

function beginName(type: GitObjectType, size: number, like: string): Hash {
  return createHash(like.length === 64 ? "sha256" : "sha1").update(`${type} ${size}\0`);
}

/**
 * Parses what `ls-tree -z` or `ls-files --stage -z` list; entries of an unfinished merge are left
 * out.
 */
export function parseGitEntries(listed: Buffer): GitTreeEntry[] {
  return listed
    .toString()
    .split("\0")
    .flatMap((line) => {
      // <mode> <type> <object>\t<path>, or <mode> <object> <stage>\t<path>
      const [, mode, object, path] =
        /^(\d{6}) (?:\w+ )?([0-9a-f]{40}|[0-9a-f]{64})(?: 0)?\t([\s\S]+)$/.exec(line) ?? [];
      return mode && object && path ? [{ mode, object, path }] : [];
    });
}

/** In bytes; git can't write larger ones (lib/git/git.ts). */
const largestFile = 8 * 1024 ** 3;

/**
 * Returns whether a file on the disk has the content and the mode that git records. git's own
 * status depends on bits in the index, attributes and settings.
 * @param diskKeeps whether the disk keeps modes (`core.fileMode`) and symbolic links
 * (`core.symlinks`)
 */
export function isUnmodified(
  root: string,
  { mode, object, path }: GitTreeEntry,
  diskKeeps: { readonly modes: boolean; readonly links: boolean },
): boolean {
  const place = join(root, path);
  const stats = lstatSync(place, { throwIfNoEntry: false });
  // A submodule that is not checked out is an empty folder.
  if (mode === "160000") return stats === undefined || stats.isDirectory();
  if (stats === undefined) return false;
  if (mode === "120000" && stats.isSymbolicLink())
    return hashGitObject("blob", readlinkSync(place, { encoding: "buffer" }), object) === object;
  if (!stats.isFile() || (mode === "120000" && diskKeeps.links) || stats.size > largestFile) return false;
  if (mode !== "120000" && diskKeeps.modes && (stats.mode & 0o100 ? "100755" : "100644") !== mode)
    return false;
  const name = hashRegularFileSync(place, largestFile, (size) => beginName("blob", size, object));
  return name.digest("hex") === object;
}
