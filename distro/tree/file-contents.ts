import { hash } from "node:crypto";
import { RegularFileError } from "../../lib/fs/regular-file.ts";
import { TreeError, type TreeProblem } from "../tree-error.ts";
import { maxContextFileBytes, type TreeSource } from "../tree-source.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The contents of a tree's files. Hashes each once, as a package's images share most of them. */
export class FileContents {
  readonly #source: TreeSource;
  readonly #hashes = new Map<string, Promise<string>>();

  constructor(source: TreeSource) {
    this.#source = source;
  }

  /**
   * Returns a file's text, or the problem that prevents reading it.
   * @param limit in bytes
   * @param hashed whether its hash will be needed: then it is computed from these very bytes
   */
  async readText(path: string, limit: number, hashed: boolean): Promise<string | TreeProblem> {
    try {
      const bytes = await this.#source.read(path, limit);
      if (hashed) this.#hashes.set(path, Promise.resolve(hash("sha256", bytes)));
      return utf8.decode(bytes);
    } catch (error) {
      const problem = readProblem(path, error, limit);
      if (problem === undefined) throw error;
      return problem;
    }
  }

  /**
   * Returns the sha256 of a file, 64 hex digits.
   * @throws TreeError if it cannot be read
   */
  async sha256(path: string): Promise<string> {
    const known = this.#hashes.get(path) ?? this.#source.sha256(path);
    this.#hashes.set(path, known);
    try {
      return await known;
    } catch (error) {
      const problem = readProblem(path, error, maxContextFileBytes);
      throw problem === undefined ? error : new TreeError([problem]);
    }
  }
}

/** Returns the problem of a file that cannot be read; undefined for an error of another kind. */
function readProblem(file: string, error: unknown, limit: number): TreeProblem | undefined {
  if (error instanceof RegularFileError) {
    return error.problem === "too-large"
      ? { file, found: `more than ${limit} bytes`, allowed: `at most ${limit} bytes in such a file` }
      : { file, found: "no regular file", allowed: "a regular file" };
  }
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA")
    return { file, found: "bytes that are not UTF-8", allowed: "text in UTF-8" };
  const isUnreadable = code === "EACCES" || code === "EPERM" || code === "ENOENT";
  return isUnreadable
    ? { file, found: `a file that can't be read (${code})`, allowed: "a file that this user can read" }
    : undefined;
}
