import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { parseInputKey } from "../../../../distro/input-key.ts";
import { Ledger } from "../../../../distro/ledger/ledger.ts";
import {
  type FetchAnswer,
  formatFetchRecord,
  parseFetchRecord,
} from "../../../../sources/recording/fetch-record.ts";
import { FetchRecordStore } from "../../../../sources/recording/fetch-record-store.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const inputKey = parseInputKey("ab".repeat(32));
const answer = (url: string, more: Partial<FetchAnswer> = {}): FetchAnswer => ({
  ...{ method: "GET", url, status: 200, headers: {}, sha256: "0".repeat(64), size: 1 },
  ...more,
});
const record = (...answers: FetchAnswer[]) => ({ inputKey, image: "user-x", answers });

test("formats a record the same for every order of answers", () => {
  const [a, b] = [answer("https://a.test/"), answer("https://b.test/", { headers: { etag: '"1"' } })];
  const text = formatFetchRecord(record(b, a));
  expect(text).toBe(formatFetchRecord(record(a, b)));
  expect(parseFetchRecord(text)).toEqual(record(a, b));
  expect(text.split("\n")).toHaveLength(5);
});

test.each([
  ["two answers to one request", record(answer("https://a.test/"), answer("https://a.test/"))],
  [
    "a header of another name",
    record(answer("https://a.test/", { headers: { "set-cookie": "x" } as never })),
  ],
  ["a method that writes", record(answer("https://a.test/", { method: "PUT" as never }))],
])("rejects a record with %s", (_, wrong) => {
  const text = JSON.stringify({ format: "stagex-fetches/1", ...wrong });
  expect(() => parseFetchRecord(text)).toThrow();
});

test.each([
  ["unknown keys", `{${Array.from({ length: 150_000 }, (_, each) => `"key\\n${each}":0`).join(",")}}`],
  ["a long header", JSON.stringify({ answers: [{ headers: { ["x".repeat(100_000)]: "" } }] })],
  ["millions of answers", `{"answers":[0${",0".repeat(3_000_000)}]}`],
  ["no JSON", `{"${"x".repeat(100_000)}\n`],
])("reports the problem of a record in one short line: %s", (_, text) => {
  const problem = problemOf(text);
  expect(problem).toMatch(/^it (is no record: |has more than 50000 answers$|is not JSON)/);
  expect(problem).not.toContain("\n");
  expect(problem.length).toBeLessThan(300);
});

function problemOf(text: string): string {
  try {
    parseFetchRecord(text);
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

test("rejects a key's folder with thousands of files by name", async () => {
  const records = new FetchRecordStore(await scratchFolder());
  const folder = join(records.root, "ab", inputKey);
  await records.write(record());
  for (let each = 0; each < 1000; each += 1) writeFileSync(join(folder, `.${each}.tmp`), "");
  await expect(records.find(inputKey)).rejects.toThrow(
    `${folder} can't be used: it has more than 1000 files`,
  );
});

test("chooses the same of several records every time, and keeps the ledger whole", async () => {
  const root = await scratchFolder();
  const records = new FetchRecordStore(root);
  const names = [await records.write(record(answer("https://a.test/"))), await records.write(record())];
  expect(await records.write(record())).toBe(names[1]);
  expect((await records.find(inputKey))?.sha256).toBe(names.sort()[0]);
  expect((await new Ledger(root).readAll()).problems).toEqual([]);
});

test("rejects a changed record and a linked folder by name", async () => {
  const root = await scratchFolder();
  const records = new FetchRecordStore(root);
  const name = await records.write(record(answer("https://a.test/")));
  const path = join(records.root, "ab", inputKey, `${name}.json`);
  const text = readFileSync(path, "utf8");
  chmodSync(path, 0o644);
  writeFileSync(path, text.replace("a.test", "b.test"));
  await expect(records.find(inputKey)).rejects.toThrow(`${name}.json can't be used: its content is not`);
  const other = new FetchRecordStore(join(root, "other"));
  mkdirSync(join(other.root, "ab"), { recursive: true });
  symlinkSync(dirname(path), join(other.root, "ab", inputKey));
  await expect(other.find(inputKey)).rejects.toThrow("it is no folder");
  await expect(other.write(record())).rejects.toThrow("it is no folder");
});
