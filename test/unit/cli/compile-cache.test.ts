import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { projectRoot } from "../../../lib/paths.ts";

const folder = mkdtempSync(join(tmpdir(), "stagex-compile-cache-"));
afterAll(() => rmSync(folder, { recursive: true }));

const project = join(folder, "project");
const cache = join(project, "node_modules/.cache/stagex");

beforeEach(() => {
  rmSync(project, { recursive: true, force: true });
  mkdirSync(join(project, "cli"), { recursive: true });
  copyFileSync(join(projectRoot, "cli/stagex.mjs"), join(project, "cli/stagex.mjs"));
  const program =
    'import { getCompileCacheDir } from "node:module";\nconsole.log(getCompileCacheDir() ?? "none");\n';
  writeFileSync(join(project, "cli/stagex.ts"), program);
});

/** Runs the entry, and returns what the command prints: which cache it has, where a test has written no other. */
function told(): string {
  const { NODE_COMPILE_CACHE: _, ...environment } = process.env;
  const { stdout, stderr } = spawnSync(process.execPath, [join(project, "cli/stagex.mjs")], {
    encoding: "utf8",
    env: environment,
  });
  expect(stderr).not.toMatch(/Error/);
  return stdout.trim();
}

test("creates the cache as a private folder", () => {
  expect(told()).toContain(cache);
  expect(statSync(cache).mode & 0o777).toBe(0o700);
});

test.each([0o777, 0o775, 0o755])("removes the content of a cache with mode %o", (mode) => {
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, "planted"), "x");
  chmodSync(cache, mode);
  expect(told()).toContain(cache);
  expect(existsSync(join(cache, "planted"))).toBe(false);
  expect(statSync(cache).mode & 0o777).toBe(0o700);
});

test("keeps the content of a private cache", () => {
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  writeFileSync(join(cache, "kept"), "x");
  expect(told()).toContain(cache);
  expect(existsSync(join(cache, "kept"))).toBe(true);
});

test("does not follow a link in the place of the cache, and leaves its target alone", () => {
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere, { mode: 0o755 });
  writeFileSync(join(elsewhere, "kept"), "x");
  mkdirSync(join(project, "node_modules/.cache"), { recursive: true });
  symlinkSync(elsewhere, cache);
  expect(told()).not.toContain(elsewhere);
  expect(existsSync(join(elsewhere, "kept"))).toBe(true);
});

test("runs without a cache if no folder can be created", () => {
  writeFileSync(join(project, "node_modules"), "");
  expect(told()).toBe("none");
});

test("loads only English of zod's languages", () => {
  const zod = import.meta.resolve("zod");
  const program = `import { z } from "${zod}";\nconsole.log(Object.keys(z.locales).join(), z.string().safeParse(1).error.message);\n`;
  writeFileSync(join(project, "cli/stagex.ts"), program);
  expect(told()).toMatch(/^default \[[\s\S]*expected string, received number/);
});
