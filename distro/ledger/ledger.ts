import { mkdir } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { z } from "zod";
import { createFile, syncToDisk } from "../../lib/fs/atomic-write.ts";
import { RegularFileError, readRegularFileSync } from "../../lib/fs/regular-file.ts";
import { digestOf, digestSchema, hexOf } from "../../oci/digest.ts";
import { type InputKey, inputKeySchema } from "../input-key.ts";
import { type LedgerFiles, type LedgerProblem, listKeyFiles, listLedgerFiles } from "./ledger-files.ts";

export type { LedgerProblem } from "./ledger-files.ts";

const format = "stagex-ledger/1";

/** The size limit of a record in bytes. */
const recordLimit = 64 * 1024;

/** A builder's name: it becomes a file's name, so its characters are restricted. */
const builderId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, {
  error: "a builder's id is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit",
});

const recordSchema = z.strictObject({
  format: z.literal(format),
  inputKey: inputKeySchema,
  image: z.string().min(1).max(256),
  digests: z.strictObject({
    index: digestSchema.nullable(),
    platforms: z
      .record(z.string().min(1), digestSchema)
      .refine((platforms) => Object.keys(platforms).length > 0, { error: "names no platform" }),
  }),
  builder: z.strictObject({
    id: builderId,
    facts: z
      .strictObject({
        arch: z.string(),
        cpuVendor: z.string(),
        // Older records lack it.
        cpuModel: z.string().optional(),
        // Only for builders elsewhere, and for declared vendors.
        vendorSource: z.enum(["cpuinfo", "probe", "declared", "unknown"]).optional(),
        kernel: z.string(),
        buildkit: z.string(),
        go: z.string(),
      })
      .nullable(),
  }),
  seconds: z.number().nonnegative().nullable(),
  // Older records lack it, as do those of builders that do not measure it.
  memory: z.int().positive().optional(),
  outcome: z.enum(["built", "mismatch"]),
  finished: z.iso.datetime(),
  // Only for images that fetch: sha256 of the fetch record that the image was built by.
  fetches: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

/**
 * The statement of one builder on one input key: what it built. `digests.platforms` maps
 * `linux/amd64` to the manifest's digest. `digests.index` is null where only the manifest was
 * published. `builder.facts` and `seconds` are null for an imported release, whose builders are
 * unknown. `memory` is the build's peak in bytes. `fetches` names the record of its fetches
 * (sources/recording/fetch-record-store.ts). `outcome` is `mismatch` where another digest was
 * expected.
 */
export type LedgerRecord = Omit<z.infer<typeof recordSchema>, "format">;

/** The ledger's answer on an input key. `mismatch` records are evidence, but make no key known. */
export type LedgerAnswer = {
  /** `contradiction`: equal inputs gave different digests, and none of them can be trusted. */
  readonly kind: "unknown" | "known" | "contradiction";
  /** The merged digests of all its records where the key is known; else null. */
  readonly digests: LedgerRecord["digests"] | null;
  readonly records: readonly LedgerRecord[];
  readonly problems: readonly LedgerProblem[];
};

/** An error for a shared ledger that is unsafe to write to. */
export class UnsafeLedgerError extends Error {
  override readonly name = "UnsafeLedgerError";

  constructor({ path, problem }: LedgerProblem) {
    super(`nothing is recorded in the ledger: ${path} ${problem}. Delete it, or restore it from git`);
  }
}

/**
 * The append-only record of the digests that were built from each input key. Each (input key,
 * builder) has a file, `<root>/<first two digits of the key>/<key>/<builder>.json`. A builder that
 * got two different results from one key leaves two files, the second with the result in its name.
 * Files never change, so git merges two ledgers by keeping the files of both. Any number of
 * processes may write at once, and any of them may be killed.
 */
export class Ledger {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /**
   * Appends a record, and returns its file. A record equal to an earlier one of the same builder
   * adds nothing.
   * @throws UnsafeLedgerError where the record's folder is a link, by which it would be written
   *   elsewhere
   */
  async append(entry: LedgerRecord): Promise<string> {
    const record = recordSchema.parse({ format, ...entry });
    const folder = this.#folder(record.inputKey);
    const [problem] = listKeyFiles(this.root, record.inputKey).problems;
    if (problem) throw new UnsafeLedgerError(problem);
    await mkdir(folder, { recursive: true });
    const first = join(folder, `${record.builder.id}.json`);
    if (await createRecord(first, textOf(record))) return first;
    const earlier = readRecord(first);
    if ("record" in earlier && resultOf(earlier.record) === resultOf(record)) return first;
    const other = join(folder, `${record.builder.id}+${resultOf(record)}.json`);
    await createRecord(other, textOf(record));
    return other;
  }

  /** Looks up an input key. Unreadable records do not affect the answer of the others. */
  async lookUp(key: InputKey): Promise<LedgerAnswer> {
    const { records, problems } = readAll(listKeyFiles(this.root, key));
    return { ...judge(records), records, problems };
  }

  /** Checks for records of these manifests from these inputs, whatever other records claim. */
  async hasRecordOf(
    image: string,
    key: InputKey,
    digests: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    const { records } = await this.lookUp(key);
    const built = records.filter((record) => record.outcome === "built" && record.image === image);
    const expected = Object.entries(digests);
    return (
      expected.length > 0 &&
      expected.every(([platform, digest]) => built.some((one) => one.digests.platforms[platform] === digest))
    );
  }

  /** Returns the files that {@link lookUp} reads, folder first: its answer depends on them. */
  recordPaths(key: InputKey): string[] {
    return [this.#folder(key), ...listKeyFiles(this.root, key).paths];
  }

  /** Reads every record, sorted by image, key and builder, and lists all other files. */
  async readAll(): Promise<{ records: LedgerRecord[]; problems: LedgerProblem[] }> {
    const { records, problems } = readAll(listLedgerFiles(this.root));
    records.sort((a, b) => compare(sortKey(a), sortKey(b)));
    return { records, problems };
  }

  #folder(key: InputKey): string {
    return join(this.root, key.slice(0, 2), key);
  }
}

/** Records of one input key with different digests, so they cannot all be right. */
export type Contradiction = { readonly inputKey: InputKey; readonly records: readonly LedgerRecord[] };

/** Finds every input key with records of different images, in the order of the records. */
export function findContradictions(records: readonly LedgerRecord[]): Contradiction[] {
  const built = records.filter((record) => record.outcome === "built");
  return [...Map.groupBy(built, ({ inputKey }) => inputKey)]
    .filter(([, ofKey]) => contradict(ofKey))
    .map(([inputKey, ofKey]) => ({ inputKey, records: ofKey }));
}

/**
 * Checks whether two records differ on an index or a platform that both name. Takes one pass, as a
 * key has up to a thousand records.
 */
function contradict(built: readonly LedgerRecord[]): boolean {
  const seen = new Map<string, string>();
  const differs = (what: string, digest: string) => {
    const before = seen.get(what);
    seen.set(what, digest);
    return before !== undefined && before !== digest;
  };
  return built.some(
    ({ digests: { index, platforms } }) =>
      (index !== null && differs("", index)) ||
      Object.entries(platforms).some(([platform, digest]) => differs(platform, digest)),
  );
}

function judge(records: readonly LedgerRecord[]): Pick<LedgerAnswer, "kind" | "digests"> {
  const built = records.filter((record) => record.outcome === "built");
  if (built.length === 0) return { kind: "unknown", digests: null };
  if (contradict(built)) return { kind: "contradiction", digests: null };
  const index = built.map((record) => record.digests.index).find((found) => found !== null) ?? null;
  return {
    kind: "known",
    digests: { index, platforms: Object.assign({}, ...built.map((record) => record.digests.platforms)) },
  };
}

/** Hashes the outcome, the digests and the fetch record, short enough for a file's name. */
function resultOf({ outcome, digests, fetches }: LedgerRecord): string {
  const words = [outcome, JSON.stringify(sortMembers(digests)), ...(fetches === undefined ? [] : [fetches])];
  return hexOf(digestOf(words.join(" "))).slice(0, 16);
}

function readAll(files: LedgerFiles): { records: LedgerRecord[]; problems: LedgerProblem[] } {
  const results = files.paths.map(readRecord);
  return {
    records: results.flatMap((result) => ("record" in result ? [result.record] : [])),
    problems: [...files.problems, ...results.flatMap((result) => ("problem" in result ? [result] : []))],
  };
}

function readRecord(path: string): { record: LedgerRecord } | LedgerProblem {
  try {
    return recordIn(readRegularFileSync(path, recordLimit).toString("utf8"), path);
  } catch (error) {
    if (error instanceof RegularFileError) return { path, problem: error.message.slice(`${path} `.length) };
    return { path, problem: `can't be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function recordIn(text: string, path: string): { record: LedgerRecord } | LedgerProblem {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { path, problem: "is not JSON (cut off or damaged?)" };
  }
  const parsed = recordSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { path, problem: `is no record: ${issue?.path.join(".")}: ${issue?.message}` };
  }
  const { format: _, ...record } = parsed.data;
  return isFiledUnder(path, record) ? { record } : { path, problem: "is filed under another key or builder" };
}

function isFiledUnder(path: string, record: LedgerRecord): boolean {
  const key = record.inputKey;
  const folders = dirname(path).split(sep).slice(-2);
  const names = [`${record.builder.id}.json`, `${record.builder.id}+${resultOf(record)}.json`];
  return folders[0] === key.slice(0, 2) && folders[1] === key && names.includes(basename(path));
}

/** Creates a record's file on the disk; returns false where it already exists. */
async function createRecord(path: string, text: string): Promise<boolean> {
  if (!(await createFile(path, text))) return false;
  await syncToDisk(dirname(path));
  return true;
}

/** Formats a record with sorted members and a final newline: equal records have equal bytes. */
function textOf(record: z.infer<typeof recordSchema>): string {
  return `${JSON.stringify(sortMembers(record), null, 2)}\n`;
}

function sortMembers(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const members = Object.entries(value).sort(([a], [b]) => compare(a, b));
  return Object.fromEntries(members.map(([name, member]) => [name, sortMembers(member)]));
}

function sortKey(record: LedgerRecord): string {
  return [record.image, record.inputKey, record.builder.id, record.outcome].join("\0");
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
