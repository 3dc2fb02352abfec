import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { PreviewCache } from "../../../../pipeline/context/preview-cache.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const thing = z.strictObject({ colour: z.string() });
const red = { colour: "red" };
/** Time enough since the test made its files. */
const later = () => Date.now() + 5000;

/** A file, and where to keep what is found in it. */
async function setUp() {
  const folder = await scratchFolder();
  const source = join(folder, "source");
  await writeFile(source, "the rose is red");
  const path = join(folder, "recollection.json");
  const reopened = () => PreviewCache.open(path, thing);
  const cache = await reopened();
  const scratch = join(folder, "scratch");
  return { folder, scratch, source, path, cache, reopened };
}

test("returns the values that an earlier process saved, and no others", async () => {
  const { scratch, source, cache, reopened } = await setUp();
  cache.put("rose", red, [source], later());
  await cache.save(scratch);
  const next = await reopened();
  expect(next.get("rose")).toEqual(red);
  expect(next.get("tulip")).toBeUndefined();
});

const alterations: [string, (source: string) => Promise<void>][] = [
  ["is altered", (source) => writeFile(source, "the rose is tan")],
  ["is written again with the same bytes", (source) => writeFile(source, "the rose is red")],
  ["is gone", (source) => rm(source)],
  [
    "has another in its place, of the same size and time",
    async (source) => {
      const { atime, mtime } = await stat(source);
      await writeFile(`${source}.new`, "the rose is tan");
      await utimes(`${source}.new`, atime, mtime);
      await rename(`${source}.new`, source);
    },
  ],
  [
    "is altered and given its old time again, as by who unpacks an archive",
    async (source) => {
      const { atime, mtime } = await stat(source);
      await writeFile(source, "the rose is tan");
      await utimes(source, atime, mtime);
    },
  ],
];
test.each(alterations)("drops a value whose file %s", async (_, alter) => {
  const { scratch, source, cache, reopened } = await setUp();
  cache.put("rose", red, [source], later());
  await alter(source);
  expect(cache.get("rose")).toBeUndefined();
  await cache.save(scratch);
  expect((await reopened()).get("rose")).toBeUndefined();
});

test("a value can depend on a missing file until that appears", async () => {
  const { folder, cache } = await setUp();
  const absent = join(folder, "no", "such");
  cache.put("rose", red, [absent], later());
  expect(cache.get("rose")).toEqual(red);
  await mkdir(absent, { recursive: true });
  expect(cache.get("rose")).toBeUndefined();
});

test("drops a value whose file can't be looked up", async () => {
  const { source, path, scratch, cache, reopened } = await setUp();
  cache.put("rose", red, [source], later());
  await cache.save(scratch);
  await writeFile(path, (await readFile(path, "utf8")).replace('"source"', `"${"x".repeat(300)}"`));
  expect((await reopened()).get("rose")).toBeUndefined();
});

test("does not keep a value whose file changed while it was read or just before", async () => {
  const { source, cache } = await setUp();
  cache.put("rose", red, [source], Date.now());
  expect(cache.get("rose")).toBeUndefined();
  cache.put("rose", red, [source], later());
  expect(cache.get("rose")).toEqual(red);
});

test.each([
  ["rubbish", "{"],
  ["another format", '{"format": "stagex-recollection/0", "memories": {}}'],
  [
    "another thing",
    '{"format": "stagex-recollection/1", "memories": {"rose": {"thing": {"color": 1}, "files": {}}}}',
  ],
])("treats %s as an empty cache and replaces it", async (_, text) => {
  const { scratch, source, path, reopened } = await setUp();
  await writeFile(path, text);
  const cache = await reopened();
  expect(cache.get("rose")).toBeUndefined();
  cache.put("rose", red, [source], later());
  await cache.save(scratch);
  expect((await reopened()).get("rose")).toEqual(red);
});

test("ignores a failure to save and leaves no file behind", async () => {
  const { folder, scratch, source, path, cache } = await setUp();
  cache.put("rose", red, [source], later());
  await mkdir(path);
  await cache.save(scratch);
  expect((await readdir(folder)).sort()).toEqual(["recollection.json", "scratch", "source"]);
  expect(await readdir(scratch)).toEqual([]);
});

test("drops values that were not asked for recently", async () => {
  const { scratch, source, cache, reopened } = await setUp();
  for (let count = 0; count < 1500; count += 1) cache.put(`rose ${count}`, red, [source], later());
  expect(cache.get("rose 3")).toEqual(red);
  await cache.save(scratch);
  const next = await reopened();
  expect(["rose 3", "rose 4", "rose 500", "rose 501", "rose 1499"].map((rose) => next.get(rose))).toEqual([
    ...[red, undefined, undefined, red, red],
  ]);
});

test("does not save without new values", async () => {
  const { scratch, source, path, cache, reopened } = await setUp();
  cache.put("rose", red, [source], later());
  await cache.save(scratch);
  const before = await readFile(path, "utf8");
  await writeFile(path, `${before} `);
  const next = await reopened();
  expect(next.get("rose")).toEqual(red);
  await next.save(scratch);
  expect(await readFile(path, "utf8")).toBe(`${before} `);
});
