import { GitError } from "./git.ts";
import { type GitRepository, runInRepository } from "./git-repository.ts";
import { type GitObjectType, hashGitObject } from "./git-tree-entry.ts";

/** An object as the repository has it. Its content is not compared with its name. */
export type GitObject = { readonly type: string; readonly content: Buffer };

/** Limit of all objects that are read at once, in bytes. */
const contentLimit = 2 ** 30;

/**
 * Reads objects with one git process. A missing object is left out of the result.
 * @param names full names of objects
 * @throws GitError
 */
export async function readObjects(
  repository: GitRepository,
  names: readonly string[],
): Promise<Map<string, GitObject>> {
  const wanted = [...new Set(names)];
  const folder = repository.workTree ?? repository.gitFolder;
  const input = wanted.map((name) => `${name}\n`).join("");
  const output = await runInRepository(repository, folder, ["cat-file", "--batch", "--buffer"], {
    input,
    bytes: contentLimit,
  });
  const objects = new Map<string, GitObject>();
  let next = 0;
  for (const name of wanted) {
    // <name> <type> <size>\n<content>\n, or <name> missing\n
    const end = output.indexOf("\n", next);
    const [, type, size] = output.toString("latin1", next, end).split(" ");
    next = end + 1;
    if (type === "missing") continue;
    const length = Number(size);
    if (end < 0 || type === undefined || !Number.isSafeInteger(length))
      throw new GitError(`git cat-file gave no object for ${name}`);
    objects.set(name, { type, content: output.subarray(next, next + length) });
    next += length + 1;
  }
  return objects;
}

/**
 * Returns the content of an object if its name is the hash of it; undefined where there is no such
 * object.
 */
export function verifiedContent(
  objects: ReadonlyMap<string, GitObject>,
  type: GitObjectType,
  name: string,
): Buffer | undefined {
  const found = objects.get(name);
  return found?.type === type && hashGitObject(type, found.content, name) === name
    ? found.content
    : undefined;
}
