import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { maintainersOf, newKey } from "../../../support/builders/maintainers.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.mjs");

test.each([
  ["no number", ["--threshold", "two"], /not a number of --threshold/],
  ["no such roster", ["--maintainers", "/none"], /no roster/],
])("can't be written: exit 2 and no file, for %s", async (_, more, words) => {
  const out = join(await scratchFolder(), "policy");
  const tree = join(import.meta.dirname, "../../../../examples/seed-tree");
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

test("a key file that can't be read is told of: it may be somebody's revocation", async () => {
  const folder = await scratchFolder();
  const alice = await newKey("alice");
  writeFileSync(join(folder, "MAINTAINERS"), maintainersOf({ alice: { keys: [alice] } }));
  mkdirSync(join(folder, "keys"));
  writeFileSync(join(folder, "keys/alice.asc"), alice.toPublic().armor());
  writeFileSync(join(folder, "keys/revoked.asc"), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
  const options = ["--maintainers", join(folder, "MAINTAINERS"), "--keys", join(folder, "keys")];
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      program,
      "policy",
      "--repository",
      "docker.io/stagex",
      "--threshold",
      "1",
      ...options,
      "--out",
      join(folder, "out"),
    ],
    { encoding: "utf8" },
  );
  expect(stderr).toMatch(
    /no policy is written, since keys may be revoked: revoked\.asc: it has a BEGIN or END line/,
  );
  expect(status).toBe(2);
  expect(existsSync(join(folder, "out"))).toBe(false);
});
