import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, readdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseInputKey } from "../../distro/input-key.ts";
import { Ledger, type LedgerRecord } from "../../distro/ledger/ledger.ts";
import { maxRecordsPerKey } from "../../distro/ledger/ledger-files.ts";
import { digestOf, hexOf } from "../../oci/digest.ts";
import { scratchFolder } from "../support/builders/scratch-folder.ts";

const program = join(import.meta.dirname, "../../cli/stagex.mjs");
const inputKey = parseInputKey(hexOf(digestOf("inputs")));
const prefix = inputKey.slice(0, 2);

const record: LedgerRecord = {
  inputKey,
  image: "core-hello",
  digests: { index: null, platforms: { "linux/amd64": digestOf("hello") } },
  builder: { id: "epyc-1", facts: null },
  seconds: 1,
  outcome: "built",
  finished: "2026-03-01T10:20:30.456Z",
};

/** Checks a ledger in a process of its own, as a check without end would block this one. */
function check(folder: string) {
  const args = [program, "ledger", "check", "--ledger", folder];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
  return { status, stdout, stderr };
}

async function ledgerWithOne(): Promise<{ root: string; ledger: Ledger }> {
  const root = await scratchFolder();
  const ledger = new Ledger(root);
  await ledger.append(record);
  return { root, ledger };
}

test("answers at once where links lead back into the ledger, at every depth", async () => {
  const { root } = await ledgerWithOne();
  for (const folder of [root, join(root, prefix), join(root, prefix, inputKey)])
    for (const name of ["a", "b", "cc", "c".repeat(64)]) await symlink(root, join(folder, name));
  const { status, stdout, stderr } = check(root);
  expect(status).toBe(2);
  expect(stdout).toContain("1 record of 1 input key by 1 builder, 0 contradictions");
  expect(stderr.match(/symbolic link/g)).toHaveLength(12);
});

test.each(["the key's folder", "the folder above it", "the record"])(
  "does not follow %s where it is a link",
  async (what) => {
    const elsewhere = await ledgerWithOne();
    const root = await scratchFolder();
    const own = new Ledger(root);
    const path =
      { "the folder above it": prefix, "the key's folder": join(prefix, inputKey) }[what] ??
      join(prefix, inputKey, "epyc-1.json");
    await mkdir(join(root, path, ".."), { recursive: true });
    await symlink(join(elsewhere.root, path), join(root, path));
    const answer = await own.lookUp(inputKey);
    expect(answer).toMatchObject({ kind: "unknown", records: [] });
    expect(answer.problems).toMatchObject([
      { path: join(root, path), problem: expect.stringContaining("symbolic link") },
    ]);
    expect((await own.readAll()).records).toEqual([]);
    for (const file of own.recordPaths(inputKey)) expect(file.startsWith(root)).toBe(true);
  },
);

test("writes nothing through a link", async () => {
  const elsewhere = await scratchFolder();
  const root = await scratchFolder();
  await mkdir(join(root, prefix));
  await symlink(elsewhere, join(root, prefix, inputKey));
  await expect(new Ledger(root).append(record)).rejects.toThrow(
    /is a symbolic link.*Delete it, or restore it/,
  );
  expect(await readdir(elsewhere)).toEqual([]);
});

test("reads neither a pipe nor a device nor a folder as a record, and shows nothing of them", async () => {
  const { root, ledger } = await ledgerWithOne();
  const folder = join(root, prefix, inputKey);
  execFileSync("mkfifo", [join(folder, "pipe.json")]);
  await symlink("/dev/zero", join(folder, "zero.json"));
  await symlink("/etc/passwd", join(folder, "secret.json"));
  await mkdir(join(folder, "nested.json"));
  await writeFile(join(root, "stray.json"), "{}");
  await mkdir(join(root, "deep/deeper/deepest"), { recursive: true });
  const { status, stdout, stderr } = check(root);
  expect(status).toBe(2);
  expect(stdout).toContain("1 record of");
  expect(stderr).toMatch(/pipe\.json is a pipe/);
  expect(stderr).toMatch(/zero\.json is a symbolic link/);
  expect(stderr).toMatch(/nested\.json is a folder/);
  expect(stderr).toMatch(/stray\.json is no folder of records/);
  expect(stderr).toMatch(/deep is no folder of a ledger's/);
  expect(stderr).not.toContain("root:");
  expect((await ledger.lookUp(inputKey)).kind).toBe("known");
});

test("passes over git's own folder, a README and a licence", async () => {
  const { root } = await ledgerWithOne();
  await mkdir(join(root, ".git"));
  for (const name of ["README", "README.md", "LICENSE.txt", ".gitattributes"])
    await writeFile(join(root, name), "text");
  expect(check(root)).toMatchObject({ status: 0, stderr: "" });
});

test("reports a key with too many files as unknown", async () => {
  const { root, ledger } = await ledgerWithOne();
  const folder = join(root, prefix, inputKey);
  for (let number = 0; number < maxRecordsPerKey; number++)
    await writeFile(join(folder, `${number}.json`), "");
  expect(await ledger.lookUp(inputKey)).toMatchObject({ kind: "unknown", records: [] });
  const { problems } = await ledger.readAll();
  expect(problems).toEqual([
    { path: folder, problem: `has more than ${maxRecordsPerKey} entries, and is not read` },
  ]);
});

test("reports ten problems of a kind, and counts the rest", async () => {
  const { root } = await ledgerWithOne();
  for (let number = 0; number < 150; number++) await symlink(".", join(root, `link-${number}`));
  await rename(join(root, "link-0"), join(root, "link-\u001b[31m"));
  const { status, stderr } = check(root);
  expect(status).toBe(2);
  expect(stderr.match(/^left out: \//gm)).toHaveLength(10);
  expect(stderr).toContain("and 140 more, each of which is a symbolic link");
  expect(stderr).toContain("\n150 entries of the ledger left out");
  expect(stderr).toContain("\\u001b");
  expect(stderr).not.toContain("\u001b");
});

test("exits with 1 for a contradiction, whatever else can't be read", async () => {
  const { root, ledger } = await ledgerWithOne();
  await ledger.append({
    ...record,
    builder: { id: "xeon-1", facts: null },
    digests: { index: null, platforms: { "linux/amd64": digestOf("other") } },
  });
  await symlink(".", join(root, "a"));
  const { status, stdout } = check(root);
  expect(status).toBe(1);
  expect(stdout).toContain("contradiction: core-hello");
  expect(stdout).toMatch(/Build it here .*delete the other's file/);
});
