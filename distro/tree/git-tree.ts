import { createHash, hash } from "node:crypto";
import { tooLargeError } from "../../lib/fs/regular-file.ts";
import { GitError } from "../../lib/git/git.ts";
import { readObjects, streamObjects } from "../../lib/git/git-objects.ts";
import { type GitRepository, requireRepository } from "../../lib/git/git-repository.ts";
import { RepositoryError } from "../../lib/git/git-repository-checks.ts";
import { runGitIn, runInRepository } from "../../lib/git/isolated-git.ts";
import { findNearestName } from "../../lib/text/nearest-name.ts";
import { quoted, TreeError, type TreeProblem } from "../tree-error.ts";
import {
  isOutsideTree,
  maxContextFileBytes,
  maxTextBytes,
  type TreeFile,
  type TreeSource,
  treeFolders,
} from "../tree-source.ts";
import { asTreeError, fileModes } from "./git-index.ts";

/**
 * Resolves a revision (a branch, a tag, `HEAD~3`, a commit) to a commit's full object name.
 * @param root a folder of the repository
 * @throws TreeError if there is no repository, or it has no such commit
 */
export async function resolveCommit(root: string, revision: string): Promise<string> {
  const wanted = `${revision}^{commit}`;
  try {
    const answer = await runGitIn(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", wanted]);
    return answer.toString().trim();
  } catch (error) {
    if (!isAnswer(error)) throw asTreeError(error, { file: root, allowed: "a commit" });
    throw new TreeError([await unknownRevision(root, revision, error)]);
  }
}

/**
 * Opens the tree at this folder as of a commit. Reads the files of `packages/` and `digests/` from
 * git's objects, without a checkout. The folder may lie below the repository's top folder.
 * @param commit as {@link resolveCommit} returns it
 * @throws TreeError if an object is missing or damaged
 */
export async function openGitTree(root: string, commit: string): Promise<TreeSource> {
  const name = `${root} at ${commit.slice(0, 12)}`;
  try {
    const repository = await requireRepository(root);
    const { entries, problems } = await listFiles(repository, root, commit);
    const blobs = await readBlobs(repository, entries);
    const found = entries.map((entry) => blobProblem(entry, blobs.get(entry.object) ?? { size: 0 }));
    return new GitTree(name, repository, {
      entries: entries.filter((_, index) => found[index]?.length === 0),
      blobs,
      problems: [...problems, ...found.flat()],
    });
  } catch (error) {
    if (!isAnswer(error))
      throw asTreeError(error, { file: name, allowed: "a revision that git can read whole" });
    throw new TreeError([await unreadable(root, name, error)]);
  }
}

/** Checks that the error is git's negative answer: it has looked, and found no such object. */
function isAnswer(error: unknown): error is GitError {
  return error instanceof GitError && error.problem === "failed" && !(error instanceof RepositoryError);
}

/** A file, and the name of the git object with its content. */
type Entry = TreeFile & { readonly object: string };

class GitTree implements TreeSource {
  readonly root: string;
  readonly files: readonly TreeFile[];
  readonly problems: readonly TreeProblem[];
  readonly #repository: GitRepository;
  readonly #blobs: ReadonlyMap<string, Blob>;
  readonly #objects: ReadonlyMap<string, string>;

  constructor(
    root: string,
    repository: GitRepository,
    { entries, blobs, problems }: Listing & { readonly blobs: ReadonlyMap<string, Blob> },
  ) {
    this.root = root;
    this.files = entries.map(({ path, mode }) => ({ path, mode }));
    this.problems = problems;
    this.#repository = repository;
    this.#blobs = blobs;
    this.#objects = new Map(entries.map(({ path, object }) => [path, object]));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const { object, blob } = this.#find(path);
    if (blob.size > limit) throw tooLargeError(path, limit);
    if (blob.content !== undefined) return blob.content;
    const found = (await readObjects(this.#repository, [object])).get(object);
    if (found === undefined) throw missingError(path, object);
    return found.content;
  }

  async sha256(path: string): Promise<string> {
    const { sha256, content } = this.#find(path).blob;
    return sha256 ?? hash("sha256", content ?? "");
  }

  #find(path: string): { readonly object: string; readonly blob: Blob } {
    const object = this.#objects.get(path) ?? "";
    const blob = this.#blobs.get(object);
    if (blob === undefined) throw new Error(`${path} is not a file of the tree ${this.root}`);
    return { object, blob };
  }
}

/** A blob of git: its content where a reader parses it, otherwise only the content's sha256. */
type Blob = { readonly size: number; readonly content?: Buffer; readonly sha256?: string };

/** The files that are read whole. Others belong to contexts, have any size, and are only hashed. */
const parsedFile = /^digests\/|\/(?:package\.toml|Containerfile)$/;

/** The limit of all kept contents together, in bytes. */
const maxKeptBytes = 2 ** 30;

/**
 * Streams the blobs of a tree, so that memory holds only parsed files and a piece of one other.
 * @returns by name of object
 * @throws GitError if one is missing, or parsed files have more than {@link maxKeptBytes}
 */
async function readBlobs(
  repository: GitRepository,
  entries: readonly Entry[],
): Promise<ReadonlyMap<string, Blob>> {
  const parsed = new Set(
    entries.filter(({ path, mode }) => isLink(mode) || parsedFile.test(path)).map(({ object }) => object),
  );
  const blobs = new Map<string, Blob>();
  let kept = 0;
  await streamObjects(
    repository,
    entries.map(({ object }) => object),
    ({ name, type, size }) => {
      const isKept = parsed.has(name) && size <= maxTextBytes;
      if (isKept) kept += size;
      const pieces: Buffer[] = [];
      const hashing = isKept ? undefined : createHash("sha256");
      return {
        write: (piece) => {
          if (hashing !== undefined) hashing.update(piece);
          // Kept contents are small: a copy releases the pipe's buffer.
          else if (kept <= maxKeptBytes) pieces.push(Buffer.from(piece));
        },
        end: () => {
          if (type !== "blob") return;
          blobs.set(
            name,
            hashing === undefined
              ? { size, content: Buffer.concat(pieces) }
              : { size, sha256: hashing.digest("hex") },
          );
        },
      };
    },
  );
  if (kept > maxKeptBytes)
    throw new GitError(`package.toml, Containerfiles and digests have ${kept} bytes`, "over-limit");
  const missing = entries.find(({ object }) => !blobs.has(object));
  if (missing !== undefined) throw missingError(missing.path, missing.object);
  return blobs;
}

function missingError(path: string, object: string): GitError {
  return new GitError(`${path}: git's object ${object} is missing`);
}

function isLink(mode: TreeFile["mode"]): boolean {
  return mode === "120000";
}

type Listing = { readonly entries: readonly Entry[]; readonly problems: readonly TreeProblem[] };

async function listFiles(repository: GitRepository, root: string, commit: string): Promise<Listing> {
  const output = await runInRepository(repository, root, [
    "ls-tree",
    "-r",
    "-z",
    commit,
    "--",
    ...treeFolders,
  ]);
  const entries: Entry[] = [];
  const problems: TreeProblem[] = [];
  for (const line of output.toString().split("\0")) {
    // <mode> <type> <object>\t<path>
    const [, written = "", type, object = "", path = ""] = /^(\d+) (\w+) (\w+)\t([\s\S]+)$/.exec(line) ?? [];
    const mode = fileModes[written];
    if (path === "") continue;
    if (path.includes("\uFFFD")) {
      problems.push({ file: path, found: "a name that is not UTF-8", allowed: "names in UTF-8" });
    } else if (mode !== undefined) entries.push({ path, mode, object });
    else problems.push({ file: path, found: type === "commit" ? "a submodule" : written, allowed: "files" });
  }
  return { entries: entries.sort((left, right) => (left.path < right.path ? -1 : 1)), problems };
}

/** Returns the reason to leave a file out: a link that leads out of the tree, or too many bytes. */
function blobProblem({ path, mode }: Entry, { size, content }: Blob): TreeProblem[] {
  if (!isLink(mode)) {
    if (size <= maxContextFileBytes) return [];
    const allowed = `at most ${maxContextFileBytes} bytes`;
    return [{ file: path, found: `a file of ${size} bytes`, allowed }];
  }
  const target = content === undefined ? undefined : new TextDecoder().decode(content);
  if (target !== undefined && !isOutsideTree(path, target)) return [];
  const found = `a symbolic link to ${target === undefined ? `${size} bytes` : quoted(target)}`;
  return [{ file: path, found, allowed: "links to what is in the tree" }];
}

async function unreadable(root: string, file: string, { message }: GitError): Promise<TreeProblem> {
  const lines = message.split("\n").map((line) => line.trim());
  const reason = lines.find((line) => /^(fatal|error):/.test(line)) ?? lines[0];
  const settings = [...(await requireRepository(root)).config.keys()];
  if (settings.some((name) => /^remote\..*\.partialclonefilter$/.test(name))) {
    const fix = `git -C ${root} fetch --refetch --no-filter`;
    return {
      file,
      found: `${quoted(reason)} in a partial clone`,
      allowed: "a clone with all objects",
      fix,
    };
  }
  const fix = `git -C ${root} fsck`;
  return { file, found: quoted(reason), allowed: "a revision that git can read whole", fix };
}

async function unknownRevision(root: string, revision: string, { message }: GitError): Promise<TreeProblem> {
  const at = { file: root, found: `no commit ${quoted(revision)}` };
  if (revision === "HEAD") {
    return { ...at, found: "a repository without a commit", allowed: "at least one commit" };
  }
  const shallow = await runGitIn(root, ["rev-parse", "--is-shallow-repository"]);
  if (shallow.toString().trim() === "true") {
    const fix = `git -C ${root} fetch --unshallow --tags`;
    return {
      ...at,
      found: `${at.found} in a shallow clone`,
      allowed: "a revision that the clone has",
      fix,
    };
  }
  if (!message.startsWith("git rev-parse ended"))
    return { ...at, found: quoted(message), allowed: "a commit" };
  const names = await runGitIn(root, ["for-each-ref", "--format=%(refname:lstrip=2)"]).catch(() => "");
  const nearest = findNearestName(revision, names.toString().trim().split("\n"));
  const hint = nearest === undefined ? "" : `; the nearest is ${nearest}`;
  return { ...at, allowed: `a commit, tag or branch of this repository${hint}` };
}
