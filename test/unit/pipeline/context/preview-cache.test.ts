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
  const recollection = await reopened();
  const scratch = join(folder, "scratch");
  return { folder, scratch, source, path, recollection, reopened };
}

test("what one process kept, the next recalls, and nothing else", async () => {
  const { scratch, source, recollection, reopened } = await setUp();
  recollection.put("rose", red, [source], later());
  await recollection.save(scratch);
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
test.each(alterations)("nothing is recalled where a file %s", async (_, alter) => {
  const { scratch, source, recollection, reopened } = await setUp();
  recollection.put("rose", red, [source], later());
  await alter(source);
  expect(recollection.get("rose")).toBeUndefined();
  await recollection.save(scratch);
  expect((await reopened()).get("rose")).toBeUndefined();
});

test("that a file is not there is a finding too, until it is", async () => {
  const { folder, recollection } = await setUp();
  const absent = join(folder, "no", "such");
  recollection.put("rose", red, [absent], later());
  expect(recollection.get("rose")).toEqual(red);
  await mkdir(absent, { recursive: true });
  expect(recollection.get("rose")).toBeUndefined();
});

test("a name that can't be looked up is not as it was", async () => {
  const { source, path, scratch, recollection, reopened } = await setUp();
  recollection.put("rose", red, [source], later());
  await recollection.save(scratch);
  await writeFile(path, (await readFile(path, "utf8")).replace('"source"', `"${"x".repeat(300)}"`));
  expect((await reopened()).get("rose")).toBeUndefined();
});

test("what was written while it was read, or just before, is not kept", async () => {
  const { source, recollection } = await setUp();
  recollection.put("rose", red, [source], Date.now());
  expect(recollection.get("rose")).toBeUndefined();
  recollection.put("rose", red, [source], later());
  expect(recollection.get("rose")).toEqual(red);
});

test.each([
  ["rubbish", "{"],
  ["another format", '{"format": "stagex-recollection/0", "memories": {}}'],
  [
    "another thing",
    '{"format": "stagex-recollection/1", "memories": {"rose": {"thing": {"color": 1}, "files": {}}}}',
  ],
])("%s counts as nothing, and is written over", async (_, text) => {
  const { scratch, source, path, reopened } = await setUp();
  await writeFile(path, text);
  const recollection = await reopened();
  expect(recollection.get("rose")).toBeUndefined();
  recollection.put("rose", red, [source], later());
  await recollection.save(scratch);
  expect((await reopened()).get("rose")).toEqual(red);
});

test("where it can't be written, nothing fails and nothing is left behind", async () => {
  const { folder, scratch, source, path, recollection } = await setUp();
  recollection.put("rose", red, [source], later());
  await mkdir(path);
  await recollection.save(scratch);
  expect((await readdir(folder)).sort()).toEqual(["recollection.json", "scratch", "source"]);
  expect(await readdir(scratch)).toEqual([]);
});

test("what nobody has asked for in a long time is forgotten", async () => {
  const { scratch, source, recollection, reopened } = await setUp();
  for (let count = 0; count < 1500; count += 1) recollection.put(`rose ${count}`, red, [source], later());
  expect(recollection.get("rose 3")).toEqual(red);
  await recollection.save(scratch);
  const next = await reopened();
  expect(["rose 3", "rose 4", "rose 500", "rose 501", "rose 1499"].map((rose) => next.get(rose))).toEqual([
    ...[red, undefined, undefined, red, red],
  ]);
});

test("a process that found nothing new writes nothing", async () => {
  const { scratch, source, path, recollection, reopened } = await setUp();
  recollection.put("rose", red, [source], later());
  await recollection.save(scratch);
  const before = await readFile(path, "utf8");
  await writeFile(path, `${before} `);
  const next = await reopened();
  expect(next.get("rose")).toEqual(red);
  await next.save(scratch);
  expect(await readFile(path, "utf8")).toBe(`${before} `);
});
