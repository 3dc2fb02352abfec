import type { Dirent } from "node:fs";
import { lstat, opendir } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { TrustError } from "../trust-error.ts";

/**
 * A key file, by its path below the folder, or by its name: its bytes, or the reason why it was not
 * read.
 */
export type FoundFile = { readonly file: string } & (
  | { readonly bytes: Uint8Array }
  | { readonly problem: string }
);

/** All files of a key folder, in the order of their paths, or the one file. */
export type FoundKeys = { readonly isFolder: boolean; readonly files: readonly FoundFile[] };

/**
 * The most bytes of a file: certificates with thousands of certifications by others have crashed
 * readers.
 */
const maxFileSize = 16 * 1024 * 1024;

/**
 * Bounds of a folder: its files and folders, the bytes of all files, and the depth of nested
 * folders.
 */
const maxEntries = 4096;
const maxBytes = 32 * 1024 * 1024;
const maxDepth = 8;

/** A hint for users without key files: a roster only names keys. */
export const keyExportHint = "a file of them is what gpg --export FINGERPRINT… writes";

/**
 * Reads a folder of keys with its subfolders, or one file. Names that begin with a dot are ignored.
 * The folder may come with a stranger's tree, so no link is followed: a link, a pipe or a device is
 * a file that can't be read.
 * @throws TrustError if there is no such folder or file
 */
export async function readKeyFiles(place: string): Promise<FoundKeys> {
  const facts = await lstat(place).catch(unreadable(place));
  if (facts.isSymbolicLink())
    throw new TrustError(`no keys at ${place}: it is a symbolic link; name the folder or file it points to`);
  if (!facts.isDirectory())
    return { isFolder: false, files: [await read(dirname(place), place, maxFileSize)] };
  const { files, problems } = await walk(place);
  const found: FoundFile[] = [...problems];
  let room = maxBytes;
  for (const path of files) {
    const one = await read(place, path, Math.min(maxFileSize, room));
    if ("bytes" in one) room -= one.bytes.length;
    found.push(one);
  }
  return { isFolder: true, files: found.sort((a, b) => (a.file < b.file ? -1 : 1)) };
}

async function walk(root: string): Promise<{ readonly files: string[]; readonly problems: FoundFile[] }> {
  const files: string[] = [];
  const problems: FoundFile[] = [];
  let entries = 0;
  const enter = async (folder: string, depth: number): Promise<void> => {
    if (depth > maxDepth) return report(folder, `lies more than ${maxDepth} folders deep`);
    try {
      for await (const entry of await opendir(folder)) {
        if (entry.name.startsWith(".")) continue;
        if (++entries > maxEntries)
          throw new TrustError(`no keys at ${root}: it has more than the ${maxEntries} files that are read`);
        await visit(join(folder, entry.name), entry, depth);
      }
    } catch (error) {
      if (error instanceof TrustError) throw error;
      if (depth === 0) return unreadable(folder)(error);
      report(folder, `can't be read (${codeOf(error)})`);
    }
  };
  const visit = async (path: string, entry: Dirent, depth: number): Promise<void> => {
    if (entry.isDirectory()) return await enter(path, depth + 1);
    files.push(path);
  };
  const report = (path: string, problem: string): void => {
    problems.push({ file: relative(root, path), problem });
  };
  await enter(root, 0);
  return { files, problems };
}

async function read(folder: string, path: string, limit: number): Promise<FoundFile> {
  const file = relative(folder, path);
  try {
    return { file, bytes: await readRegularFile(path, limit) };
  } catch (error) {
    const isOurs = error instanceof Error && error.name === "RegularFileError";
    const problem = isOurs ? error.message.slice(path.length + 1) : `can't be read (${codeOf(error)})`;
    return { file, problem };
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown reason";
}

function unreadable(place: string): (error: unknown) => never {
  return (error) => {
    const code = codeOf(error);
    const why = code === "ENOENT" ? `there is nothing there; ${keyExportHint}` : `it can't be read (${code})`;
    throw new TrustError(`no keys at ${place}: ${why}`);
  };
}
