import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { Recollection } from "../../../../providers/stagex/recollection.ts";
import { scratchFolder } from "../../../fixtures/scratch-folder.ts";

const thing = z.strictObject({ colour: z.string() });
const red = { colour: "red" };
const longAgo = new Date("2026-01-01");

/** A file of old, and where to keep what is found in it. */
async function setUp() {
  const folder = await scratchFolder();
  const source = join(folder, "source");
  await writeFile(source, "the rose is red");
  await utimes(source, longAgo, longAgo);
  const path = join(folder, "recollection.json");
  const reopened = () => Recollection.open(path, thing);
  const recollection = await reopened();
  return { folder, source, path, recollection, reopened };
}

test("what one process kept, the next recalls, and nothing else", async () => {
  const { source, recollection, reopened } = await setUp();
  recollection.keep("rose", red, [source], Date.now());
  await recollection.file();
  const next = await reopened();
  expect(next.recall("rose")).toEqual(red);
  expect(next.recall("tulip")).toBeUndefined();
});

const alterations: [string, (source: string) => Promise<void>][] = [
  ["is altered", (source) => writeFile(source, "the rose is tan")],
  ["is written again with the same bytes", (source) => writeFile(source, "the rose is red")],
  ["is gone", (source) => rm(source)],
  [
    "has another in its place, of the same size and time",
    async (source) => {
      await writeFile(`${source}.new`, "the rose is tan");
      await utimes(`${source}.new`, longAgo, longAgo);
      await rename(`${source}.new`, source);
    },
  ],
];
test.each(alterations)("nothing is recalled where a file %s", async (_, alter) => {
  const { source, recollection, reopened } = await setUp();
  recollection.keep("rose", red, [source], Date.now());
  await alter(source);
  expect(recollection.recall("rose")).toBeUndefined();
  await recollection.file();
  expect((await reopened()).recall("rose")).toBeUndefined();
});

test("that a file is not there is a finding too, until it is", async () => {
  const { folder, recollection } = await setUp();
  const absent = join(folder, "no", "such");
  recollection.keep("rose", red, [absent], Date.now());
  expect(recollection.recall("rose")).toEqual(red);
  await mkdir(absent, { recursive: true });
  expect(recollection.recall("rose")).toBeUndefined();
});

test("what was written while it was read, or just before, is not kept", async () => {
  const { source, recollection } = await setUp();
  const now = new Date();
  await utimes(source, now, now);
  recollection.keep("rose", red, [source], now.getTime());
  expect(recollection.recall("rose")).toBeUndefined();
  recollection.keep("rose", red, [source], now.getTime() + 3000);
  expect(recollection.recall("rose")).toEqual(red);
});

test.each([
  ["rubbish", "{"],
  ["another format", '{"format": "stagex-recollection/0", "memories": {}}'],
  [
    "another thing",
    '{"format": "stagex-recollection/1", "memories": {"rose": {"thing": {"color": 1}, "files": {}}}}',
  ],
])("%s counts as nothing, and is written over", async (_, text) => {
  const { source, path, reopened } = await setUp();
  await writeFile(path, text);
  const recollection = await reopened();
  expect(recollection.recall("rose")).toBeUndefined();
  recollection.keep("rose", red, [source], Date.now());
  await recollection.file();
  expect((await reopened()).recall("rose")).toEqual(red);
});

test("where it can't be written, nothing fails and nothing is left behind", async () => {
  const { folder, source, path, recollection } = await setUp();
  recollection.keep("rose", red, [source], Date.now());
  await mkdir(path);
  await recollection.file();
  expect((await readdir(folder)).sort()).toEqual(["recollection.json", "source"]);
});

test("what nobody has asked for in a long time is forgotten", async () => {
  const { source, recollection, reopened } = await setUp();
  for (let count = 0; count < 1500; count += 1) recollection.keep(`rose ${count}`, red, [source], Date.now());
  expect(recollection.recall("rose 3")).toEqual(red);
  await recollection.file();
  const next = await reopened();
  expect(["rose 3", "rose 4", "rose 500", "rose 501", "rose 1499"].map((rose) => next.recall(rose))).toEqual([
    ...[red, undefined, undefined, red, red],
  ]);
});

test("a process that found nothing new writes nothing", async () => {
  const { source, path, recollection, reopened } = await setUp();
  recollection.keep("rose", red, [source], Date.now());
  await recollection.file();
  const before = await readFile(path, "utf8");
  await writeFile(path, `${before} `);
  const next = await reopened();
  expect(next.recall("rose")).toEqual(red);
  await next.file();
  expect(await readFile(path, "utf8")).toBe(`${before} `);
});
