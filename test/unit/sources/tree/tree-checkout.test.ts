import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { checkOutTree, parseTreeAddress } from "../../../../sources/tree/tree-checkout.ts";

let scratch = "";
let repository = "";
let url = "";
let cache = "";
let first = "";

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "tree-checkout-"));
  repository = join(scratch, "upstream tree");
  url = pathToFileURL(repository).href;
  cache = join(scratch, "cache");
  mkdirSync(repository);
  git("init", "--quiet", "--initial-branch=main");
  first = commit("first\n");
  git("tag", "1.0.0");
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true });
});

function git(...args: string[]): string {
  const own = ["-C", repository, "-c", "user.name=Test", "-c", "user.email=test@example.org"];
  return execFileSync("git", [...own, ...args], { encoding: "utf8" }).trim();
}

function commit(text: string): string {
  writeFileSync(join(repository, "file"), text);
  git("add", "file");
  git("commit", "--quiet", "--message", text);
  return git("rev-parse", "HEAD");
}

const open = (revision: string) => checkOutTree(parseTreeAddress(`${url}#${revision}`, scratch), cache);
const content = async (revision: string) => readFileSync(join(await open(revision), "file"), "utf8");

describe("the value of stagex:tree", () => {
  test("resolves a folder relative to the project", () => {
    expect(parseTreeAddress("../tree", "/a/b")).toEqual({ kind: "folder", folder: "/a/tree" });
    expect(parseTreeAddress("/c d/ü", "/a/b")).toEqual({ kind: "folder", folder: "/c d/ü" });
  });

  test.each(["https://example.org/x.git", "ssh://git@example.org/x", "git@example.org:x.git", "file:///x"])(
    "accepts %s with a tag",
    (address) => {
      expect(parseTreeAddress(`${address}#2026.03.0`, "/")).toEqual({
        kind: "git",
        url: address,
        revision: "2026.03.0",
      });
    },
  );

  test.each([
    ["https://example.org/x", 'add "#" and a full commit or a tag, as in https://example.org/x#2026.03.0'],
    ["https://example.org/x#", "names no revision"],
    ["https://example.org/x#0123abc", "shortened commit"],
    ["https://example.org/x#--upload-pack=x", "neither a full commit"],
    ["https://example.org/x#a..b", "neither a full commit"],
    ["https://example.org/x#1.0#2.0", "neither a full commit"],
    ["http://example.org/x#1.0", "only https, ssh and file"],
    ["ext::sh -c x#1.0", undefined],
  ])("takes %s for a folder, or rejects it", (address, message) => {
    if (message === undefined) expect(parseTreeAddress(address, "/a")).toMatchObject({ kind: "folder" });
    else expect(() => parseTreeAddress(address, "/a")).toThrow(message);
  });

  test.each([
    "https://me:hush@example.org/x#1.0",
    "https://hush@example.org/x#1.0",
    "https://hush@example.org/x",
    "https://example.org/x?private_token=hush#1.0",
    "https://hush@example.org:99999/x#1.0",
    "https://me:hu@sh@exa mple.org/x#1.0",
    "ssh://git:hush@example.org/x#1.0",
    "file://hush@example.org/x#1.0",
    "http://hush@example.org/x#1.0",
  ])("rejects %s without repeating possible secrets", (text) => {
    const address = () => parseTreeAddress(text, "/a");
    expect(address).toThrow(/git's credential helper|no URL that can be parsed|only https, ssh and file/);
    expect(address).not.toThrow(/hu(@)?sh/);
  });
});

test("checks out a repository with SHA-256 names by tag and by commit", async () => {
  rmSync(join(repository, ".git"), { recursive: true });
  git("init", "--quiet", "--object-format=sha256");
  const long = commit("long\n");
  git("tag", "1.0.0");
  expect(long).toHaveLength(64);
  expect([await content("1.0.0"), await content(long)]).toEqual(["long\n", "long\n"]);
  expect(() => open(long.slice(0, 63))).toThrow("shortened commit");
});

test("keeps every byte despite the tree's attributes and the user's filters", async () => {
  writeFileSync(
    join(repository, ".gitattributes"),
    "file text eol=crlf ident filter=user working-tree-encoding=UTF-16\n",
  );
  const settings = join(scratch, "gitconfig");
  writeFileSync(
    settings,
    `[filter "user"]\n\tsmudge = touch ${scratch}/ran; tr a-z A-Z\n\trequired = true\n`,
  );
  writeFileSync(join(repository, "file"), "$Id$\n");
  const object = execFileSync("git", ["-C", repository, "hash-object", "-w", "--no-filters", "file"], {
    encoding: "utf8",
  });
  git("update-index", "--cacheinfo", `100644,${object.trim()},file`);
  git("update-index", "--add", ".gitattributes");
  git("commit", "--quiet", "--message=x");
  vi.stubEnv("GIT_CONFIG_GLOBAL", settings);
  expect(await content(git("rev-parse", "HEAD"))).toBe("$Id$\n");
  expect(readdirSync(scratch)).not.toContain("ran");
});

test("reports a missing folder by name", async () => {
  const absent = join(scratch, "absent");
  await expect(checkOutTree({ kind: "folder", folder: absent }, cache)).rejects.toThrow(
    `no folder ${absent}`,
  );
});

test("checks out a commit, a tag and an annotated tag, and then needs no repository", async () => {
  git("tag", "--annotate", "--message", "Two", "2.0.0", commit("second\n"));
  const read = async () => [await content(first), await content("1.0.0"), await content("2.0.0")];
  expect(await read()).toEqual(["first\n", "first\n", "second\n"]);
  rmSync(repository, { recursive: true });
  expect(await read()).toEqual(["first\n", "first\n", "second\n"]);
});

test("rejects a branch with a hint that lists the tags", async () => {
  await expect(open("main")).rejects.toThrow(/has no tag "main" \(branches are not allowed.*git ls-remote/);
});

test("rejects a tag where only the end of another tag matches", async () => {
  git("tag", "refs/tags/3.0.0");
  await expect(open("3.0.0")).rejects.toThrow('no tag "3.0.0"');
});

test("reports a missing commit with git's own error", async () => {
  await expect(open("0".repeat(40))).rejects.toThrow(/git .*fetch.*0{40}/);
});

test("keeps a tag at the commit that it had when first seen", async () => {
  expect(await content("1.0.0")).toBe("first\n");
  git("tag", "--force", "1.0.0", commit("second\n"));
  expect(await content("1.0.0")).toBe("first\n");
});

test("rejects a moved tag with both commits once the old checkout is gone", async () => {
  rmSync(await open("1.0.0"), { recursive: true });
  const second = commit("second\n");
  git("tag", "--force", "1.0.0", second);
  await expect(open("1.0.0")).rejects.toThrow(
    new RegExp(`moved its tag 1.0.0.*${first}.*${second}.*pulumi config set stagex:tree`),
  );
});

test("never uses a checkout that a kill interrupted, and removes it next time", async () => {
  // The program kills itself when git is called for the second time, with the new folder half made.
  const program = `
    import { parseTreeAddress, checkOutTree } from ${JSON.stringify(new URL("../../../../sources/tree/tree-checkout.ts", import.meta.url).href)};
    await checkOutTree(parseTreeAddress(process.argv[1], "/"), process.argv[2]);`;
  const bin = join(scratch, "bin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "git"),
    `#!/bin/sh\ncase "$*" in *fetch*) kill -9 $PPID ;; esac\nexec /usr/bin/env PATH="\${PATH#*:}" git "$@"\n`,
    {
      mode: 0o755,
    },
  );
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, `${url}#${first}`, cache], {
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    stdio: "ignore",
  });
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  const [home = ""] = readdirSync(cache);
  expect(readdirSync(join(cache, home)).sort()).toEqual([
    expect.stringContaining(`${first}.making-${child.pid}-`),
    "tags",
  ]);
  expect(await content(first)).toBe("first\n");
  expect(readdirSync(join(cache, home)).sort()).toEqual([first, "tags"]);
});

test.each([
  ["another text", (folder: string) => writeFileSync(join(folder, "packages/file"), "other\n")],
  ["a file more", (folder: string) => writeFileSync(join(folder, "packages/more"), "")],
  [
    "another commit",
    (folder: string) => {
      const own = ["-C", folder, "-c", "user.name=Test", "-c", "user.email=test@example.org"];
      execFileSync("git", [...own, "commit", "--quiet", "--allow-empty", "--message", "x"]);
    },
  ],
])("rejects a checkout that somebody changed: %s", async (_, change) => {
  mkdirSync(join(repository, "packages"));
  writeFileSync(join(repository, "packages/file"), "text\n");
  git("add", "packages");
  const revision = commit("with packages\n");
  const folder = await open(revision);
  writeFileSync(join(folder, "notes"), "beside the tree");
  expect(await open(revision)).toBe(folder);
  change(folder);
  await expect(open(revision)).rejects.toThrow(`To take it anew: rm -r ${folder}`);
  rmSync(folder, { recursive: true });
  expect(await content(revision)).toBe("with packages\n");
});

test("makes one checkout for two concurrent calls", async () => {
  const folders = await Promise.all([open(first), open(first)]);
  expect(new Set(folders).size).toBe(1);
});

test("ignores the user's line endings and a hook's repository", async () => {
  const settings = join(scratch, "gitconfig");
  writeFileSync(settings, "[core]\n\tautocrlf = true\n");
  vi.stubEnv("GIT_CONFIG_GLOBAL", settings);
  vi.stubEnv("GIT_DIR", join(scratch, "elsewhere"));
  expect(await content(first)).toBe("first\n");
});
