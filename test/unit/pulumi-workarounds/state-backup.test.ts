import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StateBackup } from "../../../pulumi-workarounds/state-backup.ts";

describe("the file of a stack's state", () => {
  let backend = "";
  let path = "";
  let file: StateBackup;

  beforeEach(async () => {
    backend = mkdtempSync(join(tmpdir(), "state-file-"));
    mkdirSync(join(backend, ".pulumi/stacks/stagex"), { recursive: true });
    path = join(backend, ".pulumi/stacks/stagex/dev.json");
    write(path, '{"run":1}', 1);
    const found = await StateBackup.find(backend, "dev");
    if (found === undefined) throw new Error("the state was not found");
    file = found;
  });
  afterEach(() => rmSync(backend, { recursive: true }));

  /** As the engine does: a new file in the place of the old. */
  function write(name: string, text: string, minute: number): void {
    rmSync(name, { force: true });
    writeFileSync(name, text);
    utimesSync(name, minute * 60, minute * 60);
  }
  const state = (): string => readFileSync(path, "utf8");

  test("is found by the stack's whole name, and not confused with its backup", async () => {
    write(`${path}.bak`, "{}", 1);
    expect(file.path).toBe(path);
    expect(await StateBackup.find(backend, "ev")).toBeUndefined();
    expect(await StateBackup.find(join(backend, "nowhere"), "dev")).toBeUndefined();
  });

  test("is left alone if it is whole", async () => {
    await file.backUp();
    write(path, '{"run":2}', 2);
    expect(await file.restore()).toBeUndefined();
    expect(state()).toBe('{"run":2}');
  });

  test.each(["", '{"run":'])("is restored to the run before if it is truncated to %j", async (cut) => {
    await file.backUp();
    write(path, cut, 2);
    expect(await file.restore()).toEqual(new Date(60_000));
    expect(state()).toBe('{"run":1}');
    expect(readFileSync(`${path}.damaged`, "utf8")).toBe(cut);
  });

  test("is restored from the engine's backup if that is younger and whole", async () => {
    await file.backUp();
    write(`${path}.bak`, '{"run":2}', 2);
    write(path, "", 3);
    await file.restore();
    expect(state()).toBe('{"run":2}');
    write(`${path}.bak`, '{"run', 4);
    write(path, "", 5);
    await file.restore();
    expect(state()).toBe('{"run":1}');
  });

  test("is not backed up if it is truncated", async () => {
    await file.backUp();
    write(path, "", 2);
    await file.backUp();
    await file.restore();
    expect(state()).toBe('{"run":1}');
  });

  test("stays truncated if there is no whole copy, so that the engine reports it", async () => {
    write(path, "", 2);
    expect(await file.restore()).toBeUndefined();
    expect(state()).toBe("");
  });

  test("can be restored twice", async () => {
    await file.backUp();
    write(path, "", 2);
    await file.restore();
    await file.backUp();
    write(path, "", 3);
    await file.restore();
    expect(state()).toBe('{"run":1}');
  });
});
