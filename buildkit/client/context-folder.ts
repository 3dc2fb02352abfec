import { createHash, type Hash } from "node:crypto";
import { chmodSync, constants, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { copyFile, type FileHandle, open, readlink } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import type { ContextFile } from "../../distro/build-plan.ts";
import {
  openRegularFile,
  RegularFileError,
  readRegularFile,
  readRegularFileSync,
} from "../../lib/fs/regular-file.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";
import { diskKeeps, findRepository } from "../../lib/git/git-repository.ts";

/** The content of the build context of one image. */
export type ContextRequest = {
  /** The package's folder in the tree, absolute. */
  readonly folder: string;
  /** The files that the build may see, with the hashes that the plan has read. */
  readonly files: readonly ContextFile[];
  /**
   * The Containerfile, absolute, and the sha256 (64 hex digits) of the bytes that the plan has
   * read.
   */
  readonly recipe: { readonly path: string; readonly sha256: string };
  /** Replaces the Containerfile's text for BuildKit. */
  readonly rewrite?: (text: string) => string;
  /** The package's sources: file name below `fetch/`, and the path of its verified bytes. */
  readonly sources: readonly { readonly file: string; readonly path: string }[];
  /** The folder for temporary folders, to which the sources are copied. */
  readonly scratch: string;
};

/**
 * The folders of a build: its context, its recipe (as `Containerfile`), and the named context
 * `fetch`.
 */
export type BuildContext = { readonly context: string; readonly recipe: string; readonly fetch: string };

/**
 * Assembles the context as in a StageX checkout with its sources fetched, without other files of
 * the tree. Removes it after `work`, also on error.
 * @throws where a file has changed since planning
 */
export async function withBuildContext<T>(
  request: ContextRequest,
  work: (context: BuildContext) => Promise<T>,
): Promise<T> {
  return await withTempDir(request.scratch, async (folder) => {
    const built = {
      context: join(folder, "context"),
      recipe: join(folder, "recipe"),
      fetch: join(folder, "fetch"),
    };
    for (const each of [built.context, built.recipe, built.fetch, join(built.context, "fetch")])
      makeFolder(each);
    await placeRecipe(request, built);
    await placeFiles(request, built.context);
    for (const source of request.sources) {
      if (basename(source.file) !== source.file || source.file === "..") {
        throw new Error(`a source's file name must not contain a folder: ${JSON.stringify(source.file)}`);
      }
      const places = [join(built.fetch, source.file), join(built.context, "fetch", source.file)] as const;
      await placeSource(source.path, ...places);
    }
    return await work(built);
  });
}

/** In bytes: the limit of a tree's text files (distro/tree/tree.ts). */
const largestRecipe = 1024 * 1024;

async function placeRecipe(request: ContextRequest, built: BuildContext): Promise<void> {
  const { path, sha256 } = request.recipe;
  const placed = join(built.recipe, "Containerfile");
  await placeRegular(placed, 0o644, { path, sha256 });
  if (request.rewrite) {
    const text = (await readRegularFile(placed, largestRecipe)).toString("utf8");
    writeFileSync(placed, request.rewrite(text));
  }
  const ignored = `${basename(path)}.dockerignore`;
  const ignore = request.files.find((file) => file.path === ignored);
  if (ignore) await placeFile(request.folder, ignore, join(built.recipe, "Containerfile.dockerignore"));
}

/** Places the files, symbolic links last: no file is written through a link. */
async function placeFiles(request: ContextRequest, context: string): Promise<void> {
  const isLink = (file: ContextFile) => file.mode === "120000";
  const files = [...request.files.filter((file) => !isLink(file)), ...request.files.filter(isLink)];
  const made = new Set<string>([context]);
  for (const file of files) {
    if (posix.isAbsolute(file.path) || file.path.split("/").some((part) => part === ".." || part === "")) {
      throw new Error(`a context file's path leaves the package's folder: ${JSON.stringify(file.path)}`);
    }
    const target = join(context, file.path);
    makeParents(dirname(target), made);
    await placeFile(request.folder, file, target);
  }
}

function makeParents(folder: string, made: Set<string>): void {
  if (made.has(folder)) return;
  makeParents(dirname(folder), made);
  makeFolder(folder);
  made.add(folder);
}

/** Makes a folder of mode 0755, whatever the umask: modes are copied into images. */
function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
}

async function placeFile(folder: string, file: ContextFile, target: string): Promise<void> {
  const path = join(folder, file.path);
  if (file.mode === "120000") {
    const pointsTo = await linkTarget(path).catch(() => {
      throw changed(path, "it is no longer a symbolic link");
    });
    checkHash(createHash("sha256").update(pointsTo), { path, sha256: file.sha256 });
    symlinkSync(pointsTo, target);
    return;
  }
  const mode = file.mode === "100755" ? 0o755 : 0o644;
  await placeRegular(target, mode, { path, sha256: file.sha256 });
}

/**
 * Reads a link's target; on a disk without links, git has written it into a file (`core.symlinks`,
 * git-config(1)).
 */
async function linkTarget(path: string): Promise<string> {
  try {
    return await readlink(path);
  } catch (error) {
    const repository = await findRepository(dirname(path));
    if (repository === undefined || diskKeeps(repository).links) throw error;
    // PATH_MAX bytes at most (linux/limits.h).
    return (await readRegularFile(path, 4096)).toString();
  }
}

/** The part of a file that is in memory at once, in bytes. */
const pieceSize = 1 << 20;

/** Files of up to so many bytes are copied synchronously: the thread pool would take longer. */
const smallFile = 64 * 1024;

/** Copies a file and checks the hash of the written bytes. */
async function placeRegular(target: string, mode: number, planned: Planned): Promise<void> {
  const small = smallContent(planned.path);
  if (small === undefined) return await placeLarge(target, mode, planned);
  checkHash(createHash("sha256").update(small), planned);
  writeFileSync(target, small, { flag: "wx" });
  chmodSync(target, mode);
}

/** Reads a small file; returns undefined where it is not small, or can't be read. */
function smallContent(path: string): Buffer | undefined {
  try {
    return readRegularFileSync(path, smallFile);
  } catch {
    return undefined;
  }
}

/** Copies piece by piece; reads the next while the last goes to the disk. */
async function placeLarge(target: string, mode: number, planned: Planned): Promise<void> {
  const { handle: source, size } = await openRegular(planned.path);
  try {
    const copy = await open(target, "wx");
    try {
      const hash = createHash("sha256");
      const length = Math.max(1, Math.min(pieceSize, size));
      let left = size;
      let [piece, other] = [Buffer.allocUnsafe(length), Buffer.allocUnsafe(length)];
      let { bytesRead } = await source.read(piece);
      while (bytesRead > 0) {
        const bytes = piece.subarray(0, bytesRead);
        left -= bytesRead;
        if (left < 0) throw changed(planned.path, "it grows");
        const next = source.read(other);
        const written = writeWhole(copy, bytes);
        hash.update(bytes);
        [{ bytesRead }] = await Promise.all([next, written]);
        [piece, other] = [other, piece];
      }
      checkHash(hash, planned);
      await copy.chmod(mode);
    } finally {
      await copy.close();
    }
  } finally {
    await source.close();
  }
}

/** In bytes: no more of a context file is read, even if it grows meanwhile. */
const largest = 8 * 1024 ** 3;

async function openRegular(path: string): Promise<{ readonly handle: FileHandle; readonly size: number }> {
  return await openRegularFile(path, largest).catch((error: NodeJS.ErrnoException) => {
    const how = error instanceof RegularFileError ? error.found : `can't be read (${error.code})`;
    throw changed(path, `it ${how}`);
  });
}

async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
}

type Planned = { readonly path: string; readonly sha256: string };

function checkHash(hash: Hash, { path, sha256 }: Planned): void {
  const found = hash.digest("hex");
  if (found !== sha256) throw changed(path, `planned with sha256 ${sha256}, now ${found}`);
}

function changed(path: string, how: string): Error {
  return new Error(
    `${path} changed between planning and building: ${how}. Run the same command again to plan with it.`,
  );
}

/**
 * Copies the source, once for both of its places. A link to the cache would have the cache's
 * read-only mode, which would reach the image.
 */
async function placeSource(path: string, target: string, other: string): Promise<void> {
  await copyFile(path, target, constants.COPYFILE_FICLONE);
  chmodSync(target, 0o644);
  linkSync(target, other);
}
