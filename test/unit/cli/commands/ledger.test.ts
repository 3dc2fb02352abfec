import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Ledger } from "../../../../distro/ledger/ledger.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { git, packageFiles, trackedTree, writeInto } from "../../../support/builders/written-tree.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.mjs");
const digest = digestOf("core-seed");

function ledger(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, "ledger", ...args], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

/** A repository with the release 2026.03.0, and the path of a ledger that does not exist yet. */
function release(): { tree: string; folder: string } {
  const tree = trackedTree({
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", { containerfile: "FROM scratch\nCOPY --from=stagex/core-seed . /\n" }),
    "digests/core.txt": `${hexOf(digest)} core-seed\n${hexOf(digestOf("core-tool"))} core-tool\n`,
  });
  tag(tree, "2026.03.0");
  const folder = mkdtempSync(join(tmpdir(), "stagex-ledger-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return { tree, folder: join(folder, "ledger") };
}

function tag(tree: string, name: string): void {
  const who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
  git(tree, "add", "--all");
  git(tree, ...who, "commit", "--quiet", "--message", name);
  git(tree, ...who, "tag", "--annotate", "--message", name, name);
}

test("import reads a release from git's objects, and changes nothing the second time", () => {
  const { tree, folder } = release();
  writeInto(tree, { "packages/core/seed/package.toml": "not TOML" });
  const args = ["import", "--tree", tree, "--release", "2026.03.0", "--ledger", folder];
  const first = ledger(...args);
  expect(first).toEqual({
    status: 0,
    stdout: "2026.03.0: 2 of 2 images are in the ledger now\n",
    stderr: "",
  });
  const files = readdirSync(folder, { recursive: true });
  expect(ledger(...args)).toEqual(first);
  expect(readdirSync(folder, { recursive: true })).toEqual(files);
});

test("show lists the digests of an image with their builders", () => {
  const { tree, folder } = release();
  ledger("import", "--tree", tree, "--release", "2026.03.0", "--ledger", folder);
  const { status, stdout } = ledger("show", "core-s*", "--ledger", folder);
  expect(status).toBe(0);
  expect(stdout).toMatch(
    new RegExp(
      `^core-seed\n {2}inputs [0-9a-f]{64}\n {4}linux/amd64 ${digest} {2}release-2026.03.0, \\S+\n$`,
    ),
  );
  const unknown = ledger("show", "core-sed", "--ledger", folder);
  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toContain("the nearest is core-seed");
});

test("check reports contradictions with their builders, and exits with 1", async () => {
  const { tree, folder } = release();
  ledger("import", "--tree", tree, "--release", "2026.03.0", "--ledger", folder);
  expect(ledger("check", "--ledger", folder)).toEqual({
    status: 0,
    stdout: "2 records of 2 input keys by 1 builder, 0 contradictions\n",
    stderr: "",
  });
  const other = digestOf("another");
  writeInto(tree, { "digests/core.txt": `${hexOf(other)} core-seed\n` });
  tag(tree, "2026.03.1");
  const second = ledger("import", "--tree", tree, "--release", "2026.03.1", "--ledger", folder);
  expect(second.status).toBe(1);
  expect(second.stdout).toContain("2026.03.1: 1 of 2 images are in the ledger now\n");
  expect(second.stdout).toContain("1 left out: digests/*.txt do not have them:\n  core-tool\n");
  const { status, stdout } = ledger("check", "--ledger", folder);
  expect(status).toBe(1);
  expect(stdout).toMatch(/^contradiction: core-seed, inputs [0-9a-f]{64}:$/m);
  expect(stdout).toMatch(new RegExp(`^ {2}linux/amd64 ${digest} {2}release-2026.03.0, `, "m"));
  expect(stdout).toMatch(new RegExp(`^ {2}linux/amd64 ${other} {2}release-2026.03.1, `, "m"));
  expect(stdout).toContain("3 records of 2 input keys by 2 builders, 1 contradiction\n");
});

test("show reports a damaged record, and prints the others", async () => {
  const { tree, folder } = release();
  ledger("import", "--tree", tree, "--release", "2026.03.0", "--ledger", folder);
  const [record] = (await new Ledger(folder).readAll()).records;
  const key = record?.inputKey ?? "";
  const path = join(folder, key.slice(0, 2), key, "somebody.json");
  writeFileSync(path, "{");
  const { status, stdout, stderr } = ledger("check", "--ledger", folder);
  expect(status).toBe(2);
  expect(stdout).toContain("2 records of 2 input keys");
  expect(stderr).toContain(
    `left out: ${path} is not JSON (cut off or damaged?)\n1 entry of the ledger left out`,
  );
});

test("import exits with 2 for a name that is not a release, and writes nothing", () => {
  const { tree, folder } = release();
  for (const [name, reason] of [
    ["2026.04.0", "no commit"],
    ["../x", "is no release's tag"],
    ["2025.06.0", "published the digests of image indexes"],
  ] as const) {
    const { status, stderr } = ledger("import", "--tree", tree, "--release", name, "--ledger", folder);
    expect(stderr).toContain(reason);
    expect(status).toBe(2);
  }
  expect(() => readdirSync(folder)).toThrow("ENOENT");
});

test("rejects a named ledger that does not exist", () => {
  const { folder } = release();
  for (const place of [folder, import.meta.filename]) {
    const { status, stderr } = ledger("check", "--ledger", place);
    expect(stderr).toBe(`stagex: no ledger at ${place}\n`);
    expect(status).toBe(2);
  }
});
