import { type Dirent, lstatSync, readdirSync, type Stats } from "node:fs";
import { join } from "node:path";
import { listBounded } from "../../lib/fs/bounded-listing.ts";
import type { InputKey } from "../input-key.ts";

/** The most records of one input key: builders are far fewer. With more, none is read. */
export const maxRecordsPerKey = 1000;

/**
 * The largest folder of an input key, in bytes of the folder itself: on every file system
 * {@link maxRecordsPerKey} records fit. lstat gives the size, so a folder of millions is not listed
 * at all. `opendir` would do as well, but takes three times as long for the usual folder of one
 * record.
 */
const largestKeyFolder = 1024 * 1024;

/** The most entries of a ledger that are read, folders included. Later ones are not read. */
export const maxLedgerEntries = 500_000;

/** A damaged or foreign file in the ledger. It stays in place, and no answer uses it. */
export type LedgerProblem = { readonly path: string; readonly problem: string };

/** The files of a ledger that may be records, sorted, and the problems of other entries. */
export type LedgerFiles = { readonly paths: readonly string[]; readonly problems: readonly LedgerProblem[] };

/** Documents that a ledger's folder may have beside the records. They are no problems. */
const documents = /^(README|LICENSE)([.-].*)?$/;

/**
 * Lists the files of one input key, `<root>/<first two digits>/<key>/*`. Others may write to a
 * ledger. So links are not followed, wherever they lead, and a folder with too many entries is not
 * read at all.
 */
export function listKeyFiles(root: string, key: InputKey): LedgerFiles {
  const prefix = join(root, key.slice(0, 2));
  const facts = lstatSync(prefix, { throwIfNoEntry: false });
  if (facts?.isDirectory()) return filesIn(join(prefix, key));
  return { paths: [], problems: facts === undefined ? [] : [notAFolder(prefix, facts)] };
}

/**
 * Lists the files of all input keys. Enters only folders of the expected names, each once. Fetch
 * records (sources/recording/fetch-record-store.ts) are not among them.
 */
export function listLedgerFiles(root: string): LedgerFiles {
  const paths: string[] = [];
  const problems: LedgerProblem[] = [];
  let left = maxLedgerEntries;
  /** Returns the subfolders whose name matches; reports every other entry as a problem. */
  const foldersIn = (folder: string, name: RegExp, may: RegExp | null): string[] => {
    const entries = entriesIn(folder, left);
    if (entries === undefined) {
      problems.push(tooMany(folder, maxLedgerEntries));
      return [];
    }
    left -= entries.length;
    return entries.flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && name.test(entry.name)) return [path];
      if (entry.isDirectory() && folder === root && entry.name === "fetches") return [];
      if (!(entry.isFile() && may?.test(entry.name))) problems.push(notAFolder(path, entry));
      return [];
    });
  };
  for (const prefix of foldersIn(root, /^[0-9a-f]{2}$/, documents)) {
    for (const folder of foldersIn(prefix, /^[0-9a-f]{64}$/, null)) {
      const files = filesIn(folder);
      left -= files.paths.length;
      paths.push(...files.paths);
      problems.push(...files.problems);
    }
  }
  return { paths, problems };
}

/** Lists files synchronously: for a record or two, the thread pool takes ten times as long. */
function filesIn(folder: string): LedgerFiles {
  const facts = lstatSync(folder, { throwIfNoEntry: false });
  if (facts === undefined) return { paths: [], problems: [] };
  if (!facts.isDirectory()) return { paths: [], problems: [notAFolder(folder, facts)] };
  const names = facts.size > largestKeyFolder ? undefined : readdirSync(folder);
  if (names === undefined || names.length > maxRecordsPerKey)
    return { paths: [], problems: [tooMany(folder, maxRecordsPerKey)] };
  const paths = names.filter((name) => !isHidden(name)).sort();
  return { paths: paths.map((name) => join(folder, name)), problems: [] };
}

/** Lists a folder's entries, sorted; undefined where there are more than the limit. */
function entriesIn(folder: string, limit: number): Dirent[] | undefined {
  if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  const found = listBounded(folder, limit)?.filter(({ name }) => !isHidden(name));
  return found?.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Checks for a killed writer's temporary files, and the git folder of a ledger's repository. */
function isHidden(name: string): boolean {
  return name.startsWith(".");
}

function notAFolder(path: string, found: Dirent | Stats): LedgerProblem {
  if (found.isSymbolicLink()) return { path, problem: "is a symbolic link, and is not followed" };
  if (found.isDirectory()) return { path, problem: "is no folder of a ledger's, and is not entered" };
  return { path, problem: "is no folder of records" };
}

function tooMany(folder: string, limit: number): LedgerProblem {
  return { path: folder, problem: `has more than ${limit} entries, and is not read` };
}
