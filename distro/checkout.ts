import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { type Dirent, lstatSync, readdirSync, readlinkSync, realpathSync, type Stats } from "node:fs";
import { join } from "node:path";
import { readRegularFileSync, sha256OfRegularFileSync } from "../lib/regular-file.ts";
import { type Problem, quoted, TreeError } from "./tree-error.ts";
import { contextFileLimit, leadsOutside, type TreeFile, type TreeFiles, treeFolders } from "./tree-files.ts";

/**
 * The working tree at this folder: the files of `packages/` and `digests/` that git tracks, as they are on disk now; a
 * tracked file that is gone from the disk is gone from the tree. `digests/` counts whether tracked or not, as no build
 * reads it. Without a git repository, all files count.
 * @throws TreeError if there is no such folder, or git fails
 */
export function workingTree(root: string): TreeFiles {
  const real = realFolder(root);
  const tracked = trackedFiles(real);
  const problems = tracked === undefined ? [] : [...tracked.problems, ...untracked(real, tracked.paths)];
  const paths =
    tracked === undefined
      ? treeFolders.flatMap((folder) => filesBelow(real, folder))
      : [...tracked.paths, ...missing(filesBelow(real, "digests"), new Set(tracked.paths))];
  const list = new Listing(real, problems).files(paths);
  return new WorkingTree(real, list, problems);
}

/**
 * Reads files one after the other and not at once: a tree's thousand small files take 14 ms so, and 80 by promises.
 */
class WorkingTree implements TreeFiles {
  readonly root: string;
  readonly list: readonly TreeFile[];
  readonly problems: readonly Problem[];
  readonly #modes: ReadonlyMap<string, TreeFile["mode"]>;

  constructor(root: string, list: readonly TreeFile[], problems: readonly Problem[]) {
    this.root = root;
    this.list = list;
    this.problems = problems;
    this.#modes = new Map(list.map(({ path, mode }) => [path, mode]));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const place = join(this.root, path);
    return this.#isLink(path) ? linkTarget(place) : readRegularFileSync(place, limit);
  }

  async sha256(path: string): Promise<string> {
    const place = join(this.root, path);
    return this.#isLink(path)
      ? hash("sha256", linkTarget(place))
      : sha256OfRegularFileSync(place, contextFileLimit);
  }

  #isLink(path: string): boolean {
    const mode = this.#modes.get(path);
    if (mode === undefined) throw new Error(`${path} is not a file of the tree ${this.root}`);
    return mode === "120000";
  }
}

function linkTarget(path: string): Buffer {
  return readlinkSync(path, { encoding: "buffer" });
}

/** Looks at each path on disk, once, and lets nothing in that lies outside the tree. */
class Listing {
  readonly #root: string;
  readonly #problems: Problem[];
  readonly #folders = new Map<string, boolean>([["", true]]);

  constructor(root: string, problems: Problem[]) {
    this.#root = root;
    this.#problems = problems;
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
    if (stats.isFile()) return stats.mode & 0o100 ? "100755" : "100644";
    this.#reject(path, "neither a file nor a symbolic link", "files and symbolic links");
    return undefined;
  }

  #linkMode(path: string): TreeFile["mode"] | undefined {
    const target = readlinkSync(join(this.#root, path));
    if (!leadsOutside(path, target)) return "120000";
    this.#reject(path, `a symbolic link to ${quoted(target)}`, "links to what is in the tree");
    return undefined;
  }

  /** A folder that has become a link would lead every file below it elsewhere. */
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
    throw new TreeError([{ file: root, found: "no such folder", allowed: "the folder of a StageX tree" }]);
  }
  throw new TreeError([{ file: root, found: "a file", allowed: "the folder of a StageX tree" }]);
}

type Tracked = { paths: string[]; problems: Problem[] };

/** What git's index lists at and below this folder; undefined where there is no repository. */
function trackedFiles(root: string): Tracked | undefined {
  const output = lsFiles(root);
  if (output === undefined) return undefined;
  const paths = new Set<string>();
  const problems: Problem[] = [];
  for (const entry of output.split("\0")) {
    // <mode> <object> <stage>\t<path>
    const [, mode, stage, path] = /^(\d+) \S+ (\d)\t([\s\S]+)$/.exec(entry) ?? [];
    if (mode === undefined || path === undefined) continue;
    if (stage !== "0") {
      const mend = `git add ${path}`;
      problems.push({ file: path, found: "an unresolved merge conflict", allowed: "resolved files", mend });
    } else if (mode === "160000") problems.push({ file: path, found: "a submodule", allowed: "files" });
    else if (path.includes("\uFFFD")) {
      problems.push({ file: path, found: "a name that is not UTF-8", allowed: "names in UTF-8" });
    } else paths.add(path);
  }
  return { paths: [...paths], problems };
}

function lsFiles(root: string): string | undefined {
  // Set by git for its hooks and aliases; they would name another repository than the tree's.
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...env } = process.env;
  try {
    return execFileSync("git", ["-C", root, "ls-files", "--stage", "-z", "--", ...treeFolders], {
      encoding: "utf8",
      env: { ...env, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 30,
    });
  } catch (error) {
    if (isMissing(error) && statsOf(join(root, ".git")) === undefined) return undefined;
    const said = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : String(error);
    if (said.includes("not a git repository")) return undefined;
    throw new TreeError([
      { file: root, found: `git ls-files: ${said}`, allowed: "a git checkout that git can read" },
    ]);
  }
}

/** Packages on disk that git does not track, and so are in no plan. */
function untracked(root: string, tracked: readonly string[]): Problem[] {
  if (tracked.length === 0 && foldersIn(join(root, "packages")).length > 0) {
    const mend = `git -C ${root} add packages`;
    return [
      {
        file: "packages",
        found: "a folder where git tracks nothing",
        allowed: "packages that git tracks",
        mend,
      },
    ];
  }
  const known = new Set(tracked);
  return foldersIn(join(root, "packages")).flatMap((stage) =>
    foldersIn(join(root, "packages", stage)).flatMap((name): Problem[] => {
      const folder = `packages/${stage}/${name}`;
      const strange = missing([`${folder}/package.toml`, `${folder}/Containerfile`], known)
        .filter((file) => statsOf(join(root, file)) !== undefined)
        // StageX itself passes over a Containerfile without a package.toml.
        .filter(() => statsOf(join(root, folder, "package.toml")) !== undefined);
      const found = "a file that git does not track";
      const allowed = "packages that git tracks";
      return strange.map((file) => ({ file, found, allowed, mend: `git add ${folder}` }));
    }),
  );
}

function missing(paths: readonly string[], known: ReadonlySet<string>): string[] {
  return paths.filter((path) => !known.has(path));
}

/** All that is below a folder of the tree but folders. Links are not followed. */
function filesBelow(root: string, folder: string): string[] {
  return entriesIn(join(root, folder)).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(root, path) : [path];
  });
}

function foldersIn(folder: string): string[] {
  return entriesIn(folder).flatMap((entry) => (entry.isDirectory() ? entry.name : []));
}

/** Nothing where there is no such folder, or it is a link. */
function entriesIn(folder: string): Dirent[] {
  return statsOf(folder)?.isDirectory() ? readdirSync(folder, { withFileTypes: true }) : [];
}

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

function byCode(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
