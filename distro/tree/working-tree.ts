import { hash } from "node:crypto";
import { type Dirent, lstatSync, readdirSync, readlinkSync, realpathSync, type Stats } from "node:fs";
import { join } from "node:path";
import { isMissing } from "../../lib/fs/error-code.ts";
import { readRegularFileSync, sha256OfRegularFileSync } from "../../lib/fs/regular-file.ts";
import { redactAddress } from "../../lib/text/redacted-address.ts";
import { quoteShellWord } from "../../lib/text/shell-word.ts";
import { quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import {
  isOutsideTree,
  maxContextFileBytes,
  type TreeFile,
  type TreeSource,
  treeFolders,
} from "../tree-source.ts";
import { readTrackedFiles, type TrackedFiles } from "./git-index.ts";

/**
 * Opens the working tree at this folder: the files of `packages/` and `digests/` that git tracks,
 * as they are on disk now. A tracked file that is missing on disk is missing in the tree. Untracked
 * files of `digests/` count too, as builds do not read them. Without a git repository, all files
 * count.
 * @throws TreeError if there is no such folder, or it or its repository cannot be read; GitError if
 *   git is not installed
 */
export async function openWorkingTree(root: string): Promise<TreeSource> {
  const real = realFolder(root);
  const tracked = await readTrackedFiles(real);
  try {
    if (tracked === undefined) {
      const paths = treeFolders.flatMap((folder) => filesBelow(real, folder));
      const problems: TreeProblem[] = [];
      return new WorkingTree(real, new Listing(real, problems).files(paths), problems);
    }
    expectWhole(real, tracked);
    const paths = [...tracked.modes.keys()];
    const problems = [
      ...tracked.problems,
      ...untracked(real, [...paths, ...tracked.problems.map(({ file }) => file)]),
    ];
    paths.push(...missing(filesBelow(real, "digests"), new Set(paths)));
    return new WorkingTree(real, new Listing(real, problems, tracked).files(paths), problems);
  } catch (error) {
    throw unreadable(real, error);
  }
}

/** Rejects a sparse checkout without files of the tree: they exist, but cannot be built. */
function expectWhole(root: string, { skipped, unskipCommand: unskip }: TrackedFiles): void {
  const absent = skipped.filter((path) => statsOf(join(root, path)) === undefined);
  const [first] = absent;
  if (first === undefined) return;
  const found = `a sparse checkout without ${absent.length} of the tree's files, such as ${quoted(first)}`;
  const allowed = "packages/ and digests/ as a whole";
  throw new TreeError([{ file: root, found, allowed, fix: unskip(first) }]);
}

/** Converts the system's error for an unreadable file or folder into a problem of the tree. */
function unreadable(root: string, error: unknown): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if ((code !== "EACCES" && code !== "EPERM") || path === undefined) return error;
  const file = path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path;
  const found = `something that this user may not read (${code})`;
  return new TreeError([
    { file, found, allowed: "what can be read", fix: `chmod u+rX ${quoteShellWord(path)}` },
  ]);
}

/**
 * Reads a working tree's files one after the other. So a tree's thousand small files take 14 ms; by
 * promises they take 80 ms.
 */
class WorkingTree implements TreeSource {
  readonly root: string;
  readonly files: readonly TreeFile[];
  readonly problems: readonly TreeProblem[];
  readonly #modes: ReadonlyMap<string, TreeFile["mode"]>;

  constructor(root: string, list: readonly TreeFile[], problems: readonly TreeProblem[]) {
    this.root = root;
    this.files = list;
    this.problems = problems;
    this.#modes = new Map(list.map(({ path, mode }) => [path, mode]));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const place = join(this.root, path);
    try {
      return this.#isLink(path) ? linkTarget(place) : readRegularFileSync(place, limit);
    } catch (error) {
      throw unreadable(this.root, error);
    }
  }

  async sha256(path: string): Promise<string> {
    const place = join(this.root, path);
    try {
      return this.#isLink(path)
        ? hash("sha256", linkTarget(place))
        : sha256OfRegularFileSync(place, maxContextFileBytes);
    } catch (error) {
      throw unreadable(this.root, error);
    }
  }

  #isLink(path: string): boolean {
    const mode = this.#modes.get(path);
    if (mode === undefined) throw new Error(`${path} is not a file of the tree ${this.root}`);
    return mode === "120000";
  }
}

/** Inspects each path on disk, once. Rejects links that lead out of the tree. */
class Listing {
  readonly #root: string;
  readonly #problems: TreeProblem[];
  readonly #tracked: TrackedFiles | undefined;
  readonly #folders = new Map<string, boolean>([["", true]]);

  constructor(root: string, problems: TreeProblem[], tracked?: TrackedFiles) {
    this.#root = root;
    this.#problems = problems;
    this.#tracked = tracked;
  }

  files(paths: readonly string[]): TreeFile[] {
    return [...paths].sort(byCode).flatMap((path) => {
      const mode = this.#mode(path);
      return mode === undefined ? [] : [{ path, mode }];
    });
  }

  #mode(path: string): TreeFile["mode"] | undefined {
    if (!this.#isFolder(parentOf(path))) return undefined;
    const stats = statsOf(join(this.#root, path));
    if (stats === undefined) return undefined;
    if (stats.isSymbolicLink()) return this.#linkMode(path);
    if (stats.isFile()) return this.#fileMode(path, stats);
    this.#reject(path, "neither a file nor a symbolic link", "files and symbolic links");
    return undefined;
  }

  /**
   * Returns a file's mode. The index decides where the disk cannot keep it (`core.fileMode`,
   * `core.symlinks`, git-config(1)).
   */
  #fileMode(path: string, stats: Stats): TreeFile["mode"] | undefined {
    const recorded = this.#tracked?.modes.get(path);
    if (recorded === "120000" && !this.#tracked?.diskKeeps.links) {
      if (stats.size <= longestTarget) return this.#linkMode(path);
      this.#reject(path, `a symbolic link to ${stats.size} bytes`, "links to what is in the tree");
      return undefined;
    }
    if (recorded !== undefined && recorded !== "120000" && !this.#tracked?.diskKeeps.modes) return recorded;
    return stats.mode & 0o100 ? "100755" : "100644";
  }

  #linkMode(path: string): TreeFile["mode"] | undefined {
    const target = linkTarget(join(this.#root, path)).toString();
    if (!isOutsideTree(path, target)) return "120000";
    this.#reject(path, `a symbolic link to ${quoted(target)}`, "links to what is in the tree");
    return undefined;
  }

  /** Checks that a path is a folder and no link, which would lead every file below it elsewhere. */
  #isFolder(path: string): boolean {
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const stats = this.#isFolder(parentOf(path)) ? statsOf(join(this.#root, path)) : undefined;
    if (stats?.isSymbolicLink()) this.#reject(path, "a symbolic link where git tracks files", "a folder");
    const isFolder = stats?.isDirectory() ?? false;
    this.#folders.set(path, isFolder);
    return isFolder;
  }

  #reject(file: string, found: string, allowed: string): void {
    this.#problems.push({ file, found, allowed });
  }
}

function realFolder(root: string): string {
  try {
    const real = realpathSync(root);
    if (lstatSync(real).isDirectory()) return real;
  } catch (error) {
    if (!isMissing(error)) throw error;
    const allowed = "the folder of a StageX tree, and no address";
    throw new TreeError([{ file: redactAddress(root), found: "no such folder", allowed }]);
  }
  throw new TreeError([{ file: root, found: "a file", allowed: "the folder of a StageX tree" }]);
}

/** In bytes (PATH_MAX of linux/limits.h). */
const longestTarget = 4096;

/** Reads a link's target. On a disk without links, git writes the target into a file. */
function linkTarget(place: string): Buffer {
  try {
    return readlinkSync(place, { encoding: "buffer" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    return readRegularFileSync(place, longestTarget);
  }
}

/** Returns the packages on disk that git does not track, and that so are missing from all plans. */
function untracked(root: string, tracked: readonly string[]): TreeProblem[] {
  if (tracked.length === 0 && foldersIn(join(root, "packages")).length > 0) {
    const fix = `git -C ${quoteShellWord(root)} add packages`;
    return [
      {
        file: "packages",
        found: "a folder where git tracks nothing",
        allowed: "packages that git tracks",
        fix,
      },
    ];
  }
  const known = new Set(tracked);
  return foldersIn(join(root, "packages")).flatMap((stage) =>
    foldersIn(join(root, "packages", stage)).flatMap((name): TreeProblem[] => {
      const folder = `packages/${stage}/${name}`;
      const missingInGit = missing([`${folder}/package.toml`, `${folder}/Containerfile`], known)
        .filter((file) => statsOf(join(root, file)) !== undefined)
        // StageX itself ignores a Containerfile without a package.toml.
        .filter(() => statsOf(join(root, folder, "package.toml")) !== undefined);
      const found = "a file that git does not track";
      const allowed = "packages that git tracks";
      return missingInGit.map((file) => ({ file, found, allowed, fix: `git add ${quoteShellWord(folder)}` }));
    }),
  );
}

function missing(paths: readonly string[], known: ReadonlySet<string>): string[] {
  return paths.filter((path) => !known.has(path));
}

/** Lists all entries below a folder of the tree except folders. Does not follow links. */
function filesBelow(root: string, folder: string): string[] {
  return entriesIn(join(root, folder)).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(root, path) : [path];
  });
}

function foldersIn(folder: string): string[] {
  return entriesIn(folder).flatMap((entry) => (entry.isDirectory() ? entry.name : []));
}

/** Lists a folder's entries; none where there is no such folder, or it is a link. */
function entriesIn(folder: string): Dirent[] {
  return statsOf(folder)?.isDirectory() ? readdirSync(folder, { withFileTypes: true }) : [];
}

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function byCode(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
