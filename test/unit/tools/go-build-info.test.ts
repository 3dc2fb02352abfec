import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { goVersionOf } from "../../../tools/go-build-info.ts";

const folder = mkdtempSync(join(tmpdir(), "go-build-info-"));
afterAll(() => rmSync(folder, { recursive: true }));

const environment = { ...process.env, GOTOOLCHAIN: "local", GOFLAGS: "-mod=mod" };
const go = (...args: string[]): string =>
  execFileSync("go", args, { cwd: folder, env: environment, encoding: "utf8" });

test("reads the Go version of a binary, as `go version` does", async () => {
  const program = join(go("env", "GOROOT").trim(), "bin/gofmt");
  const [, version] = go("version", program).trim().split(": ");
  expect(await goVersionOf(program)).toBe(version);
});

test("ignores the magic in the data of a program", async () => {
  // The go command reads such blocks, and so contains the magic as data, before or after its own block.
  const program = join(go("env", "GOROOT").trim(), "bin/go");
  const [, version] = go("version", program).trim().split(": ");
  expect(await goVersionOf(program)).toBe(version);
});

test("finds the block at any place in a large file", async () => {
  const gofmt = join(go("env", "GOROOT").trim(), "bin/gofmt");
  const chunk = 4 * 1024 * 1024;
  const at = Buffer.alloc(64);
  at.write("\xff Go buildinf:", 0, "latin1");
  at[15] = 2;
  at[32] = 8;
  at.write("go1.26.8", 33, "latin1");
  for (const position of [0, 16, chunk - 16, chunk, chunk + 16, 2 * chunk - 32]) {
    const file = join(folder, `at-${position}`);
    writeFileSync(file, Buffer.concat([Buffer.alloc(position), at, Buffer.alloc(100)]));
    expect(await goVersionOf(file), `at ${position}`).toBe("go1.26.8");
  }
  copyFileSync(gofmt, join(folder, "gofmt"));
  expect(await goVersionOf(join(folder, "gofmt"))).toMatch(/^go1\./);
});

test("returns null for a file that is not a Go program", async () => {
  expect(await goVersionOf(process.execPath)).toBeNull();
  writeFileSync(join(folder, "empty"), "");
  expect(await goVersionOf(join(folder, "empty"))).toBeNull();
});
