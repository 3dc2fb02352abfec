import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { projectRoot } from "../../lib/paths.ts";

const scratch = mkdtempSync(join(tmpdir(), "closing-line-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Runs vitest itself on one test file, with our reporter. */
function vitest(
  name: string,
  content: string,
  ci: boolean,
): { readonly status: number | null; readonly last: string } {
  const root = mkdtempSync(join(scratch, `${name}-`));
  symlinkSync(join(projectRoot, "node_modules"), join(root, "node_modules"));
  writeFileSync(join(root, "some.test.ts"), `import { expect, test } from "vitest";\n${content}`);
  const reporters = ["--reporter=default", `--reporter=${join(projectRoot, "test/support/closing-line.ts")}`];
  const program = join(projectRoot, "node_modules/vitest/vitest.mjs");
  const { CI: _, ...environment } = process.env;
  const env = ci ? { ...environment, CI: "true" } : environment;
  const { status, stdout } = spawnSync(process.execPath, [program, "run", ...reporters], {
    cwd: root,
    env,
    encoding: "utf8",
  });
  return { status, last: stdout.trimEnd().split("\n").at(-1) ?? "" };
}

const passing = 'test("a", () => expect(1).toBe(1));\n';
const failing = 'test("b", () => expect(1).toBe(2));\n';
const skipped = 'test.skip("c", () => {});\n';

test.each([
  ["all well", passing, false, 0, "1 passed, 0 failed"],
  ["one failed", passing + failing, false, 1, "1 passed, 1 failed"],
  ["one skipped, by hand", passing + skipped, false, 0, "1 passed, 0 failed, 1 skipped"],
  ["one skipped, under CI", passing + skipped, true, 1, "1 passed, 1 failed"],
  ["a file that can't be loaded", `${passing}throw new Error("no");`, false, 1, "0 passed, 1 failed"],
  [
    "a stray error",
    `${passing}setTimeout(() => { throw new Error("stray"); }, 0);\ntest("d", () => new Promise((done) => setTimeout(done, 50)));`,
    false,
    1,
    "2 passed, 1 failed",
  ],
] as const)("%s: the last line says so, and the exit code too", (_, content, ci, status, last) => {
  expect(vitest("run", content, ci)).toEqual({ status, last });
});
