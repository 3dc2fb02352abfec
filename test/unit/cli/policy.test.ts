import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { scratchFolder } from "../../fixtures/scratch-folder.ts";

const program = join(import.meta.dirname, "../../../cli/stagex.ts");

test.each([
  ["no number", ["--threshold", "two"], /not a number of --threshold/],
  ["no such roster", ["--maintainers", "/none"], /no roster/],
])("can't be written: exit 2 and no file, for %s", async (_, more, words) => {
  const out = join(await scratchFolder(), "policy");
  const tree = join(import.meta.dirname, "../../../examples/seed-tree");
  const options = ["--maintainers", join(tree, "MAINTAINERS"), "--keys", tree, "--out", out];
  const { status, stderr } = spawnSync(
    process.execPath,
    [program, "policy", "--repository", "docker.io/stagex", ...options, ...more],
    { encoding: "utf8" },
  );
  expect(stderr).toMatch(words);
  expect(status).toBe(2);
  expect(existsSync(out)).toBe(false);
});
