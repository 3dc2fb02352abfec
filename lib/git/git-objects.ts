import { GitError } from "./git.ts";
import type { GitRepository } from "./git-repository.ts";
import { type GitObjectType, hashGitObject } from "./git-tree-entry.ts";
import { runInRepository } from "./isolated-git.ts";

/** An object as the repository has it. Its content is not compared with its name. */
export type GitObject = { readonly type: string; readonly content: Buffer };

/** The head of an object, which precedes its content. */
export type GitObjectHead = { readonly name: string; readonly type: string; readonly size: number };

/** Receives the content of one object: any number of pieces, then the end. */
export type GitObjectReceiver = { readonly write: (piece: Buffer) => void; readonly end: () => void };

/** Bytes of all objects that are read at once. */
const contentLimit = 2 ** 30;

/** Seconds in which all objects of a tree must have been streamed. */
const streamTimeout = 900;

/**
 * Reads objects with one git process. A missing object is left out of the result.
 * @param names full names of objects
 * @throws GitError
 */
export async function readObjects(
  repository: GitRepository,
  names: readonly string[],
): Promise<Map<string, GitObject>> {
  const objects = new Map<string, GitObject>();
  const collect = ({ name, type }: GitObjectHead): GitObjectReceiver => {
    const pieces: Buffer[] = [];
    const [write, end] = [
      (piece: Buffer) => void pieces.push(piece),
      () => void objects.set(name, { type, content: joined(pieces) }),
    ];
    return { write, end };
  };
  await readBatch(repository, names, collect, { bytes: contentLimit });
  return objects;
}

/**
 * Streams objects from one process, in the order of their names. Their sizes have no bound, and
 * memory holds one piece at a time.
 * @param names full names of objects; missing ones are passed over
 * @throws GitError
 */
export async function streamObjects(
  repository: GitRepository,
  names: readonly string[],
  receive: (head: GitObjectHead) => GitObjectReceiver,
): Promise<void> {
  await readBatch(repository, names, receive, { bytes: Number.POSITIVE_INFINITY, seconds: streamTimeout });
}

async function readBatch(
  repository: GitRepository,
  names: readonly string[],
  receive: (head: GitObjectHead) => GitObjectReceiver,
  bounds: { readonly bytes: number; readonly seconds?: number },
): Promise<void> {
  const wanted = [...new Set(names)];
  const folder = repository.workTree ?? repository.gitFolder;
  const parser = new BatchParser(wanted, receive);
  await runInRepository(repository, folder, ["cat-file", "--batch", "--buffer"], {
    input: wanted.map((name) => `${name}\n`).join(""),
    onOutput: (piece) => parser.write(piece),
    ...bounds,
  });
  parser.end();
}

/** The longest head: a name, a type and a size. */
const maxHeadLength = 200;

function noObject(name: string): GitError {
  return new GitError(`git cat-file gave no object for ${name}`);
}

/** Cuts what `git cat-file --batch` prints: `<name> <type> <size>\n<content>\n`, or `<name> missing\n`. */
class BatchParser {
  readonly #names: readonly string[];
  readonly #receive: (head: GitObjectHead) => GitObjectReceiver;
  #next = 0;
  #head = "";
  #receiver: GitObjectReceiver | undefined;
  /** Bytes of the present object's content that are still to come. */
  #left = 0;

  constructor(names: readonly string[], receive: (head: GitObjectHead) => GitObjectReceiver) {
    this.#names = names;
    this.#receive = receive;
  }

  /** @throws GitError where an object has no readable head */
  write(piece: Buffer): void {
    for (let at = 0; at < piece.length; ) {
      at = this.#receiver === undefined ? this.#readHead(piece, at) : this.#readContent(piece, at);
    }
  }

  /** @throws GitError where an object is cut short or has no answer */
  end(): void {
    const missing = this.#names[this.#next];
    if (missing !== undefined) throw noObject(missing);
  }

  #readHead(piece: Buffer, at: number): number {
    const end = piece.indexOf("\n", at);
    this.#head += piece.toString("latin1", at, end < 0 ? piece.length : end);
    const name = this.#names[this.#next] ?? "";
    if (this.#head.length > maxHeadLength) throw noObject(name);
    if (end < 0) return piece.length;
    const [, type, size] = this.#head.split(" ");
    this.#head = "";
    if (type === "missing") this.#next++;
    else if (type === undefined || !/^\d{1,15}$/.test(size ?? "")) throw noObject(name);
    else {
      this.#left = Number(size);
      this.#receiver = this.#receive({ name, type, size: this.#left });
    }
    return end + 1;
  }

  #readContent(piece: Buffer, at: number): number {
    const content = piece.subarray(at, at + this.#left);
    this.#left -= content.length;
    if (content.length > 0) this.#receiver?.write(content);
    const end = at + content.length;
    // The line end after the content is the last byte of the object.
    if (this.#left > 0 || end === piece.length) return end;
    this.#receiver?.end();
    this.#receiver = undefined;
    this.#next++;
    return end + 1;
  }
}

function joined(pieces: readonly Buffer[]): Buffer {
  const [first] = pieces;
  return first !== undefined && pieces.length === 1 ? first : Buffer.concat(pieces);
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
