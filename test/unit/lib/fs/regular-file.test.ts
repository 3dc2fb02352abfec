import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  openRegularFile,
  RegularFileError,
  readRegularFile,
  readRegularFileSync,
  sha256OfRegularFileSync,
} from "../../../../lib/fs/regular-file.ts";

const folder = mkdtempSync(join(tmpdir(), "regular-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

const readers = {
  readRegularFile,
  readRegularFileSync: async (path: string, limit: number) => readRegularFileSync(path, limit),
};

for (const [name, read] of Object.entries(readers)) {
  test(`${name} reads a file up to the limit`, async () => {
    const path = join(folder, `${name}-plain`);
    writeFileSync(path, "abc");
    expect((await read(path, 3)).toString()).toBe("abc");
    writeFileSync(path, "");
    expect((await read(path, 0)).length).toBe(0);
  });

  test(`${name} rejects a file over the limit without its content`, async () => {
    const path = join(folder, `${name}-large`);
    writeFileSync(path, "s3cr3t");
    const error = await read(path, 5).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RegularFileError);
    expect(String(error)).not.toContain("s3cr3t");
  });

  test(`${name} rejects links, pipes, devices and folders at once`, async () => {
    const [target, link, pipe] = ["target", "link", "pipe"].map((kind) => join(folder, `${name}-${kind}`));
    writeFileSync(target ?? "", "s3cr3t");
    symlinkSync(target ?? "", link ?? "");
    execFileSync("mkfifo", [pipe ?? ""]);
    for (const path of [link, pipe, "/dev/zero", folder]) {
      await expect(read(path ?? "", 100)).rejects.toMatchObject({ problem: "not-regular" });
    }
  });

  test(`${name} passes on the error of a missing file`, async () => {
    await expect(read(join(folder, "none"), 1)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test(`${name} reads a growing file up to its size`, async () => {
    const path = join(folder, `${name}-growing`);
    writeFileSync(path, "ab");
    const reading = read(path, 10);
    appendFileSync(path, "cdefgh");
    expect((await reading).toString()).toMatch(/^ab/);
  });
}

test("sha256OfRegularFileSync hashes piece by piece, and rejects links, pipes and files over the limit", () => {
  const [path, link, pipe] = ["hashed", "hashed-link", "hashed-pipe"].map((name) => join(folder, name));
  const bytes = Buffer.alloc(3_000_001, "abc");
  writeFileSync(path ?? "", bytes);
  symlinkSync(path ?? "", link ?? "");
  execFileSync("mkfifo", [pipe ?? ""]);
  expect(sha256OfRegularFileSync(path ?? "", bytes.length)).toBe(hash("sha256", bytes));
  expect(() => sha256OfRegularFileSync(path ?? "", bytes.length - 1)).toThrow(RegularFileError);
  for (const other of [link, pipe, "/dev/zero"])
    expect(() => sha256OfRegularFileSync(other ?? "", 100)).toThrow(RegularFileError);
});

test("openRegularFile leaves no handle open when it fails", async () => {
  await expect(openRegularFile(folder, 1)).rejects.toMatchObject({ problem: "not-regular" });
});
