import { dirname, join, relative } from "node:path";
import { z } from "zod";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { stampFromStats, statOf } from "../../lib/fs/file-stamp.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";

const format = "stagex-recollection/1";

/** Changed this shortly before it was read, in milliseconds, a file may have been changed again without another time. */
const tooFresh = 2000;

/** In bytes; of a release's 513 images the file has 2 MB. */
const largest = 256 * 1024 * 1024;

/** How many are kept at least. Those of an earlier tree are worth keeping for a while, but all are read by every preview. */
const fewest = 1000;

/** A thing that was found out, and the stamp of each file that says so, by its path from here; null of one that is not there. */
type Memory<Thing> = { readonly thing: Thing; readonly files: Readonly<Record<string, string | null>> };

/**
 * What earlier processes found out from files, each by its subject, as git's index keeps what it found of a working tree: as long as all the
 * files still have their stamps, none has to be read again. For foretelling only: what a disk makes of a file's bytes no stamp tells.
 *
 * It is a help and no record. Of two processes that file theirs at once one is forgotten, and a file that can't be read counts as empty.
 */
export class PreviewCache<Thing> {
  readonly #path: string;
  /** Those that were asked for last are the last. */
  readonly #memories: Map<string, Memory<Thing>>;
  readonly #asked = new Set<string>();
  #isFiled = true;

  private constructor(path: string, memories: Map<string, Memory<Thing>>) {
    this.#path = path;
    this.#memories = memories;
  }

  /** Those that were left in this file, as far as they fit the schema. */
  static async open<Thing>(path: string, schema: z.ZodType<Thing>): Promise<PreviewCache<Thing>> {
    const files = z.record(z.string(), z.string().nullable());
    const memories = z.record(z.string(), z.strictObject({ thing: schema, files }));
    try {
      const { data } = z
        .strictObject({ format: z.literal(format), memories })
        .safeParse(JSON.parse((await readRegularFile(path, largest)).toString("utf8")));
      return new PreviewCache(path, new Map(Object.entries(data?.memories ?? {})));
    } catch {
      return new PreviewCache(path, new Map());
    }
  }

  /** What was found out of this subject, if that is still so; else undefined. */
  get(subject: string): Thing | undefined {
    this.#asked.add(subject);
    const memory = this.#memories.get(subject);
    if (!memory) return undefined;
    const isAsItWas = ([file, stamp]: [string, string | null]) => stampAt(this.#at(file)) === stamp;
    this.#memories.delete(subject);
    if (Object.entries(memory.files).every(isAsItWas)) {
      this.#memories.set(subject, memory);
      return memory.thing;
    }
    this.#isFiled = false;
    return undefined;
  }

  /**
   * Keeps what was found out of a subject.
   * @param files all that it was found out from
   * @param since when the first of them was read, in milliseconds since 1970: where one was changed later or just then, nothing is kept
   */
  put(subject: string, thing: Thing, files: readonly string[], since: number): void {
    const stamps: Record<string, string | null> = {};
    for (const file of files) {
      const stamp = stampAt(file, since - tooFresh);
      if (stamp === undefined) return;
      stamps[relative(dirname(this.#path), file)] = stamp;
    }
    this.#memories.set(subject, { thing, files: stamps });
    this.#isFiled = false;
  }

  /**
   * Leaves them for the next process, if there is anything new: up to twice as many as this one was asked for. Where that can't be done, the next one
   * finds out for itself.
   * @param scratch a folder for what is not yet whole, on the same file system
   */
  async save(scratch: string): Promise<void> {
    if (this.#isFiled) return;
    const memories = Object.fromEntries([...this.#memories].slice(-Math.max(fewest, 2 * this.#asked.size)));
    try {
      await withTempDir(scratch, async (folder) => {
        const temporary = join(folder, "recollection.json");
        await replaceFile(this.#path, JSON.stringify({ format, memories }), { temporary, flush: false });
      });
      this.#isFiled = true;
    } catch {
      // Nothing is lost: it can all be found out again.
    }
  }

  #at(file: string): string {
    return join(dirname(this.#path), file);
  }
}

/**
 * The time of the inode is in it too: who unpacks an archive may set the other. Null where nothing is; undefined, which no memory has, where that
 * can't be told, and where it was changed later than allowed.
 */
function stampAt(path: string, latest = Number.POSITIVE_INFINITY): string | null | undefined {
  try {
    const found = statOf(path);
    if (found && Number(found.ctimeMs) > latest) return undefined;
    return found ? `${stampFromStats(found)}:${found.ctimeNs}` : null;
  } catch {
    return undefined;
  }
}
