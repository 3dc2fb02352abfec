import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { FolderVault } from "../../../../sources/vault/folder-vault.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const partialName = () => `${"ab".repeat(32)}-${randomUUID()}`;

test("removes old partial files of pushes, and keeps all other files beside them", async () => {
  const root = await scratchFolder();
  const partial = join(root, "partial");
  const [file, folder] = [partialName(), partialName()];
  mkdirSync(join(partial, folder), { recursive: true });
  mkdirSync(join(partial, "folder"));
  for (const name of [file, `${folder}/kept`, "folder/kept", "thesis.txt", `${file}.txt`])
    writeFileSync(join(partial, name), "x");
  vi.useFakeTimers({ now: Date.now() + 48 * 3600_000, toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  await new FolderVault(root, { asked: "before", push: true }).missing(new Map());
  expect(readdirSync(partial).sort()).toEqual([folder, `${file}.txt`, "folder", "thesis.txt"].sort());
  expect(readdirSync(join(partial, folder))).toEqual(["kept"]);
});
