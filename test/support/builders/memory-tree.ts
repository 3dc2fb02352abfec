import { hash } from "node:crypto";
import { maxContextFileBytes, type TreeFile, type TreeSource } from "../../../distro/tree-source.ts";
import { tooLargeError } from "../../../lib/fs/regular-file.ts";

/** A file of a tree that exists only in memory. */
export type MemoryFile = { readonly mode: TreeFile["mode"]; readonly content: Uint8Array | string };

/** The files of a tree by path, as {@link TreeSource}. */
export class MemoryTree implements TreeSource {
  readonly root = "memory";
  readonly problems = [];
  readonly content: ReadonlyMap<string, MemoryFile>;

  constructor(files: Iterable<readonly [string, MemoryFile]>) {
    this.content = new Map(files);
  }

  /** Copies all files of another tree. */
  static async copyOf(files: TreeSource): Promise<MemoryTree> {
    const copied = files.files.map(async ({ path, mode }) => {
      return [path, { mode, content: await files.read(path, maxContextFileBytes) }] as const;
    });
    return new MemoryTree(await Promise.all(copied));
  }

  /** Returns the same tree with other texts of some files (null: without it); modes stay. */
  edited(texts: Readonly<Record<string, string | null>>): MemoryTree {
    const files = new Map(this.content);
    for (const [path, content] of Object.entries(texts)) {
      if (content === null) files.delete(path);
      else files.set(path, { mode: files.get(path)?.mode ?? "100644", content });
    }
    return new MemoryTree(files);
  }

  /** Returns the text of a file. */
  text(path: string): string {
    return new TextDecoder().decode(this.#bytes(path));
  }

  get files(): readonly TreeFile[] {
    return [...this.content]
      .map(([path, { mode }]) => ({ path, mode }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async read(path: string, limit: number): Promise<Uint8Array> {
    const bytes = this.#bytes(path);
    if (bytes.length > limit) throw tooLargeError(path, limit);
    return bytes;
  }

  async sha256(path: string): Promise<string> {
    return hash("sha256", this.#bytes(path));
  }

  #bytes(path: string): Uint8Array {
    const file = this.content.get(path);
    if (file === undefined) throw new Error(`${path} is not in the tree`);
    return typeof file.content === "string" ? new TextEncoder().encode(file.content) : file.content;
  }
}
