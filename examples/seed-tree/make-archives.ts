/**
 * Makes the archives in `fetch/` from the texts in `sources/`.
 * `sources/<stage>/<package>/<archive>/…` becomes `fetch/<stage>/<package>/<archive>.tar`, the same
 * bytes on every machine.
 *
 *     npx node examples/seed-tree/make-archives.ts
 *
 * writes them and prints the sha256 of each, for the package.toml of its package.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type Header, pack } from "tar-stream";

/** A source archive: its path relative to the tree, and its bytes. */
export type Archive = { readonly path: string; readonly bytes: Buffer };

const tree = dirname(fileURLToPath(import.meta.url));

/** One second after the epoch, as in the images, and no trace of its author. */
const anonymous = { mtime: new Date(1000), uid: 0, gid: 0, uname: "", gname: "" } satisfies Partial<Header>;

/** Returns the names in a folder in the order of their bytes, whatever the locale. */
function sortedNames(folder: string): string[] {
  return readdirSync(folder).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** Packs a flat folder of text files, under the folder's own name. */
async function archiveOf(folder: string, name: string): Promise<Buffer> {
  const tar = pack();
  tar.entry({ ...anonymous, name: `${name}/`, type: "directory", mode: 0o755 });
  for (const file of sortedNames(folder)) {
    tar.entry({ ...anonymous, name: `${name}/${file}`, mode: 0o644 }, readFileSync(join(folder, file)));
  }
  tar.finalize();
  return buffer(tar);
}

/** Makes all archives of the tree in memory from `sources/`, sorted by path. */
export async function archives(): Promise<Archive[]> {
  const made: Archive[] = [];
  for (const stage of sortedNames(join(tree, "sources"))) {
    for (const name of sortedNames(join(tree, "sources", stage))) {
      for (const archive of sortedNames(join(tree, "sources", stage, name))) {
        const bytes = await archiveOf(join(tree, "sources", stage, name, archive), archive);
        made.push({ path: `fetch/${stage}/${name}/${archive}.tar`, bytes });
      }
    }
  }
  return made;
}

if (import.meta.main) {
  for (const { path, bytes } of await archives()) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), bytes);
    console.log(`${createHash("sha256").update(bytes).digest("hex")}  ${path}`);
  }
}
