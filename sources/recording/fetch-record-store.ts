import { lstatSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { InputKey } from "../../distro/input-key.ts";
import { createFile } from "../../lib/fs/atomic-write.ts";
import { listBounded } from "../../lib/fs/bounded-listing.ts";
import { readRegularFile } from "../../lib/fs/regular-file.ts";
import { digestOf, hexOf } from "../../oci/digest.ts";
import { type FetchRecord, formatFetchRecord, maxRecordBytes, parseFetchRecord } from "./fetch-record.ts";
import { FetchRecordError } from "./fetch-record-error.ts";

/** A record with the sha256 of its file, which is its name. */
export type NamedRecord = { readonly sha256: string; readonly record: FetchRecord };

/** The folder of a ledger that has the records. */
export const fetchesFolder = "fetches";

/** The most records of one input key; a key with more is rejected. */
const maxRecordsOfKey = 100;

/**
 * The number of entries of a key's folder that are read, including the leftovers of killed writers.
 */
const maxEntries = 1000;

/**
 * The fetch records of a ledger: the answers that each build of an input key fetched. Each file,
 * `<ledger>/fetches/<two digits>/<key>/<sha256>.json`, is named by its content and never changes.
 * So git merges two ledgers by putting their files together.
 */
export class FetchRecordStore {
  readonly root: string;

  /** @param ledger the ledger's folder */
  constructor(ledger: string) {
    this.root = join(ledger, fetchesFolder);
  }

  /** Writes a record, and returns the sha256 that it is named by. */
  async write(record: FetchRecord): Promise<string> {
    const text = formatFetchRecord(record);
    const sha256 = hexOf(digestOf(text));
    const folder = this.#folder(record.inputKey);
    requireFolders(this.root, join(folder, ".."), folder);
    await mkdir(folder, { recursive: true });
    await createFile(join(folder, `${sha256}.json`), text);
    return sha256;
  }

  /**
   * Returns the record from which builds of this key are replayed; undefined where there is none.
   * Of several it takes the first by name, so that all who have the same ones choose alike.
   * @throws FetchRecordError where its content does not match its name, or is no record
   */
  async find(key: InputKey): Promise<NamedRecord | undefined> {
    const folder = this.#folder(key);
    requireFolders(this.root, join(folder, ".."), folder);
    if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) return undefined;
    const entries = listBounded(folder, maxEntries);
    if (entries === undefined) throw new FetchRecordError(folder, `it has more than ${maxEntries} files`);
    const names = entries.map(({ name }) => name).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
    if (names.length > maxRecordsOfKey)
      throw new FetchRecordError(folder, `it has more than ${maxRecordsOfKey} files`);
    const [first] = names.sort();
    return first === undefined ? undefined : await this.read(key, first.slice(0, 64));
  }

  /** Returns whether there is a file of that record, whole or not. */
  has(key: InputKey, sha256: string): boolean {
    return lstatSync(this.#path(key, sha256), { throwIfNoEntry: false }) !== undefined;
  }

  /**
   * Reads the record of that sha256.
   * @throws FetchRecordError where there is none, or its content does not match its name
   */
  async read(key: InputKey, sha256: string): Promise<NamedRecord> {
    const path = this.#path(key, sha256);
    try {
      const bytes = await readRegularFile(path, maxRecordBytes);
      if (hexOf(digestOf(bytes)) !== sha256)
        throw new Error("its content is not the one that it is named by");
      const record = parseFetchRecord(bytes.toString("utf8"));
      if (record.inputKey !== key) throw new Error("it is of another input key");
      return { sha256, record };
    } catch (error) {
      throw new FetchRecordError(path, error instanceof Error ? error.message : String(error));
    }
  }

  #path(key: InputKey, sha256: string): string {
    return join(this.#folder(key), `${sha256}.json`);
  }

  #folder(key: InputKey | string): string {
    return join(this.root, key.slice(0, 2), key);
  }
}

/**
 * Checks that each path is a folder, if it exists. Others may write to a ledger, so links are
 * rejected.
 */
function requireFolders(...folders: readonly string[]): void {
  for (const folder of folders) {
    const found = lstatSync(folder, { throwIfNoEntry: false });
    if (found !== undefined && !found.isDirectory()) throw new FetchRecordError(folder, "it is no folder");
  }
}
