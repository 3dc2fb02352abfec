import { type Dirent, lstatSync, readdirSync, type Stats } from "node:fs";
import { join } from "node:path";
import { listBounded } from "../../lib/fs/bounded-listing.ts";
import type { InputKey } from "../input-key.ts";

/** How many records of one input key are read: a thousand builders are more than anybody has. With more, none of them is. */
export const maxRecordsPerKey = 1000;

/**
 * A folder of that many records is smaller on every file system, in bytes of its own. Told by lstat, so that a folder of millions is not
 * even listed, which `opendir` would tell as well, in three times the time for the usual folder of one record.
 */
const largestKeyFolder = 1024 * 1024;

/** How many entries of a whole ledger are looked at, folders included; what comes after them is not read. */
export const maxLedgerEntries = 500_000;

/** A file in the ledger that is no record: damaged, or somebody else's. It is left where it is and out of all answers. */
export type LedgerProblem = { readonly path: string; readonly problem: string };

/** The files of a ledger where records are looked for, sorted, and what is there besides. */
export type LedgerFiles = { readonly paths: readonly string[]; readonly problems: readonly LedgerProblem[] };

/** What a ledger's folder may have beside the records: said by nobody, and no problem. */
const documents = /^(README|LICENSE)([.-].*)?$/;

/**
 * Lists the files of one input key, `<root>/<first two digits>/<key>/*`. Others may write to a ledger: no link is followed,
 * wherever it leads, and a folder with too many entries is not read at all.
 */
export function listKeyFiles(root: string, key: InputKey): LedgerFiles {
  const prefix = join(root, key.slice(0, 2));
  const facts = lstatSync(prefix, { throwIfNoEntry: false });
  if (facts?.isDirectory()) return filesIn(join(prefix, key));
  return { paths: [], problems: facts === undefined ? [] : [notAFolder(prefix, facts)] };
}

/** Lists the files of all input keys, but the fetch records (sources/recording/fetch-record-store.ts). Only folders of the expected names are entered, and each of them once. */
export function listLedgerFiles(root: string): LedgerFiles {
  const paths: string[] = [];
  const problems: LedgerProblem[] = [];
  let left = maxLedgerEntries;
  /** The folders of this name's shape in a folder; everything else there is a problem. */
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

/** Read at once: for the record or two of a key the thread pool takes ten times as long. */
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

/** What is in a folder, sorted; undefined where there is more than the limit. */
function entriesIn(folder: string, limit: number): Dirent[] | undefined {
  if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  const found = listBounded(folder, limit)?.filter(({ name }) => !isHidden(name));
  return found?.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A killed writer's temporary files, and git's own folder where the ledger is a repository. */
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
