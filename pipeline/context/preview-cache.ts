import { dirname, join, relative } from "node:path";
import { z } from "zod";
import { replaceFile } from "../../lib/fs/atomic-write.ts";
import { stampFromStats, statOf } from "../../lib/fs/file-stamp.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { withTempDir } from "../../lib/fs/temp-dir.ts";

const format = "stagex-recollection/1";

/**
 * In milliseconds: a file that was changed so shortly before its reading may change again without
 * getting another time.
 */
const minAge = 2000;

/** In bytes. A release of 513 images takes 0.8 MB. */
const maxSize = 256 * 1024 * 1024;

/**
 * Entries that are kept at least. Those of an earlier tree may be asked for again, but every
 * preview reads all.
 */
const minEntries = 1000;

/**
 * A cached value, and the stamp of each file that it was read from, by relative path; null for a
 * missing file.
 */
type Entry<Thing> = { readonly thing: Thing; readonly files: Readonly<Record<string, string | null>> };

/**
 * A cache of values that earlier processes read from files, by subject. A value is valid as long as
 * all of its files have the same stamps, as in git's index. Used for previews only: a stamp does
 * not detect bit rot, so an `up` hashes again.
 *
 * The cache may be lost: of two processes that save at once one wins, and an unreadable file counts
 * as empty.
 */
export class PreviewCache<Thing> {
  readonly #path: string;
  /** The most recently asked for come last. */
  readonly #entries: Map<string, Entry<Thing>>;
  readonly #asked = new Set<string>();
  #isSaved = true;

  private constructor(path: string, entries: Map<string, Entry<Thing>>) {
    this.#path = path;
    this.#entries = entries;
  }

  /** Reads the file; an entry that does not fit the schema empties the cache. */
  static async open<Thing>(path: string, schema: z.ZodType<Thing>): Promise<PreviewCache<Thing>> {
    const files = z.record(z.string(), z.string().nullable());
    const memories = z.record(z.string(), z.strictObject({ thing: schema, files }));
    try {
      const { data } = z
        .strictObject({ format: z.literal(format), memories })
        .safeParse(JSON.parse((await readRegularFile(path, maxSize)).toString("utf8")));
      return new PreviewCache(path, new Map(Object.entries(data?.memories ?? {})));
    } catch {
      return new PreviewCache(path, new Map());
    }
  }

  /** Returns the value of a subject if it is still valid. */
  get(subject: string): Thing | undefined {
    this.#asked.add(subject);
    const entry = this.#entries.get(subject);
    if (!entry) return undefined;
    const isUnchanged = ([file, stamp]: [string, string | null]) => stampAt(this.#at(file)) === stamp;
    this.#entries.delete(subject);
    if (Object.entries(entry.files).every(isUnchanged)) {
      this.#entries.set(subject, entry);
      return entry.thing;
    }
    this.#isSaved = false;
    return undefined;
  }

  /**
   * Adds the value of a subject.
   * @param files all files that it was read from
   * @param since time of the first reading, in milliseconds since 1970: after a later or
   *   simultaneous change nothing is added
   */
  put(subject: string, thing: Thing, files: readonly string[], since: number): void {
    const stamps: Record<string, string | null> = {};
    for (const file of files) {
      const stamp = stampAt(file, since - minAge);
      if (stamp === undefined) return;
      stamps[relative(dirname(this.#path), file)] = stamp;
    }
    this.#entries.set(subject, { thing, files: stamps });
    this.#isSaved = false;
  }

  /**
   * Saves new entries for the next process, in all up to twice as many as this one was asked for.
   * Failures are ignored.
   * @param scratch a temporary folder on the same file system
   */
  async save(scratch: string): Promise<void> {
    if (this.#isSaved) return;
    const memories = Object.fromEntries(
      [...this.#entries].slice(-Math.max(minEntries, 2 * this.#asked.size)),
    );
    try {
      await withTempDir(scratch, async (folder) => {
        const temporary = join(folder, "recollection.json");
        await replaceFile(this.#path, JSON.stringify({ format, memories }), { temporary, flush: false });
      });
      this.#isSaved = true;
    } catch {
      // All of it can be read again.
    }
  }

  #at(file: string): string {
    return join(dirname(this.#path), file);
  }
}

/**
 * Returns the stamp of a file, with the time of its inode, since unpacking an archive sets the
 * other time.
 * @returns null for a missing file; undefined, which no entry has, for an unreadable one and one
 *   changed after `latest`
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
