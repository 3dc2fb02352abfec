import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fillFolder } from "../../../tools/tool-folder.ts";

let parent = "";
let folder = "";
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "tool-folder-"));
  folder = join(parent, "tool-v1");
});
afterEach(() => rmSync(parent, { recursive: true }));

const isFilled = async (): Promise<boolean> => existsSync(join(folder, "tool"));
const fillWith = (content: string) => async (temporary: string) =>
  writeFileSync(join(temporary, "tool"), content);

test("fills the folder, and leaves nothing else", async () => {
  await fillFolder(folder, isFilled, fillWith("whole"));
  expect(readFileSync(join(folder, "tool"), "utf8")).toBe("whole");
  expect(readdirSync(parent)).toEqual(["tool-v1"]);
});

test("fills once where several try, and makes the others wait", async () => {
  let fills = 0;
  let waits = 0;
  const once = () =>
    fillFolder(
      folder,
      isFilled,
      async (temporary) => {
        fills += 1;
        await new Promise((resolve) => setTimeout(resolve, 300));
        writeFileSync(join(temporary, "tool"), "whole");
      },
      {
        onWait: () => {
          waits += 1;
        },
      },
    );
  await Promise.all([once(), once(), once()]);
  expect(fills).toBe(1);
  expect(waits).toBe(2);
});

test("gives the folder its name only after a successful filling", async () => {
  const filling = fillFolder(folder, isFilled, async (temporary) => {
    writeFileSync(join(temporary, "tool"), "half");
    expect(existsSync(folder)).toBe(false);
    throw new Error("the compiler failed");
  });
  await expect(filling).rejects.toThrow("the compiler failed");
  expect(readdirSync(parent)).toEqual([]);
});

test("removes a killed run's temporary folder and stale lock", async () => {
  mkdirSync(`${folder}.building-12345`);
  writeFileSync(join(`${folder}.building-12345`, "tool"), "half");
  mkdirSync(`${folder}.lock`);
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(`${folder}.lock`, longAgo, longAgo);
  await fillFolder(folder, isFilled, fillWith("whole"));
  expect(readdirSync(parent)).toEqual(["tool-v1"]);
});

test("fills a folder again that lacks its tool", async () => {
  mkdirSync(folder);
  writeFileSync(join(folder, "other"), "left over");
  await fillFolder(folder, isFilled, fillWith("whole"));
  expect(readdirSync(folder)).toEqual(["tool"]);
});

test("stops waiting when it is cancelled", async () => {
  mkdirSync(`${folder}.lock`);
  const cancel = new AbortController();
  const waiting = fillFolder(folder, isFilled, fillWith("whole"), {
    onWait: () => cancel.abort(),
    signal: cancel.signal,
  });
  await expect(waiting).rejects.toThrow(/abort/i);
  expect(existsSync(folder)).toBe(false);
});
