import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chownSync,
  cpSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openGitTree, resolveCommit } from "../../distro/tree/git-tree.ts";
import { readTree } from "../../distro/tree/tree.ts";
import { HostileTree, hostileFolder } from "../support/builders/hostile-tree.ts";

let tree: HostileTree;
let other: HostileTree;

beforeEach(() => {
  tree = new HostileTree();
  other = new HostileTree();
});
afterEach(() => {
  vi.unstubAllEnvs();
  for (const each of [tree, other]) each[Symbol.dispose]();
});

const images = async () => [...(await readTree(tree.root)).images.keys()];
const atHead = async () =>
  (await openGitTree(tree.root, await resolveCommit(tree.root, "HEAD"))).files.length;

/** Both ways of reading fail with these words. */
async function expectRefused(words: string | RegExp): Promise<void> {
  await expect(readTree(tree.root)).rejects.toThrow(words);
  await expect(resolveCommit(tree.root, "HEAD")).rejects.toThrow(words);
  expect([...tree.marks(), ...other.marks()]).toEqual([]);
}

function replaceDotGit(by: string): string {
  const dotGit = join(tree.root, ".git");
  rmSync(dotGit, { recursive: true });
  writeFileSync(dotGit, by);
  return dotGit;
}

describe("files of a tree that look like a bare repository", () => {
  beforeEach(() => {
    other.configure([["core.fsmonitor", tree.command("embedded")]]);
    for (const part of ["HEAD", "config", "index", "objects", "refs"])
      cpSync(other.path(part), join(tree.root, part), { recursive: true });
  });

  test("are read as files if the tree is its repository's root", async () => {
    expect(await images()).toEqual(["core-tool"]);
    expect(await atHead()).toBe(4);
    expect(tree.marks()).toEqual([]);
  });

  test("are read as files if the tree lies below its repository's root", async () => {
    const outer = join(tree.scratch, "outer");
    mkdirSync(outer);
    rmSync(join(tree.root, ".git"), { recursive: true });
    renameSync(tree.root, join(outer, "inner"));
    const git = (...args: string[]) => execFileSync("git", ["-C", outer, ...args]);
    git("init", "--quiet");
    git("add", "--all", "--force");
    git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=Outer");
    const inner = join(outer, "inner");
    writeFileSync(join(inner, hostileFolder, "untracked"), "");
    const paths = (await readTree(inner)).images.get("core-tool")?.context.map(({ path }) => path);
    expect(paths).toEqual(["Containerfile", "file", "package.toml"]);
    const { files: list } = await openGitTree(inner, await resolveCommit(inner, "HEAD"));
    expect(list).toHaveLength(4);
    expect(tree.marks()).toEqual([]);
  });

  test("are read as files if there is no repository", async () => {
    rmSync(join(tree.root, ".git"), { recursive: true });
    expect(await images()).toEqual(["core-tool"]);
    await expect(resolveCommit(tree.root, "HEAD")).rejects.toThrow("no git repository");
    expect(tree.marks()).toEqual([]);
  });
});

describe("a .git that leads elsewhere", () => {
  test("is refused if it is a file with the path of another repository", async () => {
    const dotGit = replaceDotGit(`gitdir: ${other.path("")}\n`);
    await expectRefused(
      `${dotGit}: found a link to "${join(other.root, ".git")}", which does not name this folder`,
    );
  });

  test("is refused if it is a link to another repository", async () => {
    rmSync(tree.path(""), { recursive: true });
    symlinkSync(other.path("."), join(tree.root, ".git"));
    await expectRefused("which does not name this folder");
  });

  test("is refused if it leads to the worktree of another repository", async () => {
    other.git("worktree", "add", "--quiet", join(other.scratch, "worktree"));
    replaceDotGit(`gitdir: ${other.path("worktrees/worktree")}\n`);
    await expectRefused("which does not name this folder");
  });

  test("is refused if it leads to a made worktree that borrows from another repository", async () => {
    const gitFolder = join(tree.root, "worktrees/x");
    const dotGit = replaceDotGit("gitdir: worktrees/x\n");
    mkdirSync(gitFolder, { recursive: true });
    cpSync(other.path("HEAD"), join(gitFolder, "HEAD"));
    writeFileSync(join(gitFolder, "gitdir"), `${dotGit}\n`);
    writeFileSync(join(gitFolder, "commondir"), `${other.path("")}\n`);
    await expectRefused("which does not name this folder");
  });

  test("is refused if it is a folder with commondir or core.worktree", async () => {
    tree.configure([["core.worktree", other.root]]);
    await expectRefused("which does not name this folder");
    tree.configure([]);
    writeFileSync(tree.path("commondir"), other.path(""));
    await expectRefused("which does not name this folder");
  });

  test("is refused if its repository is gone, as what git tracks is then unknown", async () => {
    const worktree = join(tree.scratch, "worktree");
    tree.git("worktree", "add", "--quiet", worktree);
    writeFileSync(join(worktree, hostileFolder, ".env"), "password");
    renameSync(tree.root, `${tree.root}-away`);
    const words = `${worktree}/.git: found a link to "${tree.path("worktrees/worktree")}", where there is no folder`;
    await expect(readTree(worktree)).rejects.toThrow(words);
    await expect(resolveCommit(worktree, "HEAD")).rejects.toThrow(words);
  });

  test.each(["", "gitdir: \n", "gitdir: a\nb\n", "x".repeat(10_000), "gitdir: /dev/zero\n"])(
    "is refused if it leads to nothing: %j",
    async (content) => {
      replaceDotGit(content);
      await expectRefused(/\.git/);
    },
  );

  test("is refused if it is empty or can't be read", async () => {
    rmSync(tree.path("HEAD"));
    await expectRefused(`${tree.path("HEAD")}: found nothing`);
  });
});

describe("objects and refs of other repositories", () => {
  test("are refused if alternates name them", async () => {
    mkdirSync(tree.path("objects/info"), { recursive: true });
    writeFileSync(tree.path("objects/info/alternates"), `${other.path("objects")}\n`);
    await expectRefused(/alternates: found a link to the objects in ".*fix: git repack/);
  });

  test.each(["objects", "refs", "objects/pack", "index", "packed-refs", "HEAD", "config", "shallow"])(
    "are refused if %s is a link",
    async (name) => {
      tree.git("pack-refs");
      rmSync(tree.path(name), { recursive: true, force: true });
      symlinkSync(other.path(name), tree.path(name));
      await expectRefused(name);
    },
  );

  test("are refused if a folder of objects is a link", async () => {
    const object = tree.git("rev-parse", "HEAD").slice(0, 2);
    cpSync(tree.path(`objects/${object}`), other.path(`objects/${object}`), { recursive: true });
    rmSync(tree.path(`objects/${object}`), { recursive: true });
    symlinkSync(other.path(`objects/${object}`), tree.path(`objects/${object}`));
    await expectRefused("a symbolic link");
  });

  test("are ignored if they are replacements: a commit is read by its own name", async () => {
    const commit = tree.git("rev-parse", "HEAD").trim();
    tree.git("rm", "-r", "--quiet", "packages");
    tree.git("commit", "--quiet", "--message=Empty");
    tree.git("replace", commit, "HEAD");
    expect((await openGitTree(tree.root, commit)).files).toHaveLength(4);
  });
});

test.each(["HEAD", "index", "config", "packed-refs"])(
  "refuses a pipe in the place of %s without waiting for it",
  async (name) => {
    rmSync(tree.path(name), { force: true });
    execFileSync("mkfifo", [tree.path(name)]);
    await expectRefused(name);
  },
);

describe.each([
  ["a link", (path: string | Buffer) => symlinkSync("/etc", path)],
  ["a pipe", (path: string | Buffer) => void execFileSync("sh", ["-c", 'mkfifo "$(cat)"'], { input: path })],
])("refuses %s in the folders that git reads", (_, put) => {
  test.each([
    ...["refs/tags/root", "refs/heads/a/b", "refs/heads/\xff/b", "refs/heads/main", "logs", "logs/HEAD"],
    ...["logs/refs/heads/main", "objects/00", `objects/00/${"0".repeat(38)}`, "objects/info/commit-graph"],
    ...["objects/pack/pack-0.idx", `sharedindex.${"0".repeat(40)}`, "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD"],
    ...["reftable", "reftable/tables.list"],
  ])("is refused by every command: %j", async (name) => {
    // As bytes, since a ref's name need not be UTF-8.
    const path = Buffer.from(tree.path(name), "latin1");
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path.subarray(0, path.lastIndexOf("/")), { recursive: true });
    put(path);
    await expectRefused(/: found (a symbolic link|neither a file nor a folder|something else), allowed: /);
    await expect(resolveCommit(tree.root, "nosuch")).rejects.toThrow(tree.path(""));
  });
});

test("refuses a folder that is deeper than any name of git's", async () => {
  mkdirSync(tree.path(`refs/heads/${"d/".repeat(70)}`), { recursive: true });
  await expectRefused(/refs: found more than 64 folders/);
});

describe("objects that expand to more than there is memory", () => {
  /** A tree of these entries, as an object. */
  const treeOf = (entries: readonly string[]) => {
    const args = ["-C", tree.root, "mktree", "--missing"];
    return execFileSync("git", args, { input: entries.join("\n"), encoding: "utf8" }).trim();
  };
  const numbered = (count: number, entry: string) =>
    Array.from({ length: count }, (_, at) => `${entry}\t${"name".repeat(5)}${at}`);

  test("millions of files in a few trees are not listed to the end", async () => {
    const files = treeOf(
      numbered(1000, `100644 blob ${tree.git("rev-parse", "HEAD:digests/core.txt").trim()}`),
    );
    const folders = treeOf(numbered(1000, `040000 tree ${files}`));
    const packages = treeOf(numbered(4, `040000 tree ${folders}`));
    const root = treeOf([`040000 tree ${packages}\tpackages`]);
    const commit = tree.git("commit-tree", "-m", "Many", root).trim();
    await expect(openGitTree(tree.root, commit)).rejects.toThrow(
      "found git ls-tree was ended: an answer of more than 134217728 bytes, allowed: a revision that git can read whole",
    );
  });
});

test("reads a configuration larger than an environment", async () => {
  const branches = Array.from(
    { length: 15_000 },
    (_, at) => `[branch "b${at}"]\n\tremote = origin\n\tmerge = refs/heads/b${at}\n`,
  );
  const long = `[branch "long"]\n\tremote = ${"x".repeat(300_000)}\n`;
  appendFileSync(tree.path("config"), [...branches, long].join(""));
  expect(await images()).toEqual(["core-tool"]);
  expect(await atHead()).toBe(4);
});

test("keeps settings of branches and remotes as values, whatever quotes they have", async () => {
  const evil = `x"\n[core]\n\tfsmonitor = ${tree.command("quoted")}\n\tbare = true\n[y "`;
  tree.configure([
    ["branch.main.remote", evil],
    ["branch.main.merge", `refs/heads/${evil}`],
    [`branch.x"]\\.remote`, "\\"],
    [`remote.\\"] [core] bare = true # .fetch`, "+refs/heads/*:refs/remotes/x/*"],
  ]);
  expect(await images()).toEqual(["core-tool"]);
  expect(await atHead()).toBe(4);
  expect(tree.marks()).toEqual([]);
});

test("ignores git's variables in the caller's environment", async () => {
  const trace = join(tree.scratch, "trace");
  const variables = {
    ...{ GIT_DIR: other.path(""), GIT_WORK_TREE: other.root, GIT_INDEX_FILE: other.path("index") },
    ...{ GIT_OBJECT_DIRECTORY: "/nonexistent", GIT_ALTERNATE_OBJECT_DIRECTORIES: other.path("objects") },
    ...{
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "core.fsmonitor",
      GIT_CONFIG_VALUE_0: tree.command("count"),
    },
    ...{ GIT_CONFIG_PARAMETERS: `'core.fsmonitor=${tree.program("parameters")}'` },
    ...{ GIT_EXTERNAL_DIFF: tree.program("diff"), GIT_PAGER: tree.program("pager"), GIT_TRACE: trace },
    ...{ GIT_TRACE2_EVENT: trace, GIT_NAMESPACE: "x", GIT_REPLACE_REF_BASE: "refs/heads/" },
  };
  const [before, files] = [await images(), await atHead()];
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  expect(await images()).toEqual(before);
  expect(await atHead()).toBe(files);
  vi.unstubAllEnvs();
  expect(tree.marks()).toEqual([]);
  expect(() => execFileSync("cat", [trace], { stdio: "ignore" })).toThrow();
});

test("never runs a git in the tree, wherever PATH begins", async () => {
  writeFileSync(join(tree.root, "git"), `#!/bin/sh\n${tree.command("git")}\n`, { mode: 0o755 });
  vi.stubEnv("PATH", `.::${process.env.PATH}`);
  expect(await images()).toEqual(["core-tool"]);
  expect(tree.marks()).toEqual([]);
});

describe.skipIf(process.getuid?.() !== 0)("another user's repository", () => {
  const home = () => join(tree.scratch, "gitconfig");

  beforeEach(() => {
    chownSync(tree.root, 12345, 12345);
    vi.stubEnv("GIT_CONFIG_GLOBAL", home());
    vi.stubEnv("SUDO_UID", undefined);
  });

  test("is refused by show, plan and why, with the command that calls it safe", async () => {
    await expectRefused(
      `another user's repository, allowed: one of your own, or one that you call safe (fix: git config --global --add safe.directory ${tree.root})`,
    );
  });

  test.each([
    ["its folder", () => tree.root],
    ["any folder", () => "*"],
    ["folders below another", () => `${tree.scratch}/*`],
  ])("is read where the user's configuration calls %s safe", async (_, value) => {
    writeFileSync(home(), `[safe]\n\tdirectory = ${value()}\n`);
    expect(await images()).toEqual(["core-tool"]);
  });

  test("is refused if a later line revokes that, or if only the repository calls itself safe", async () => {
    writeFileSync(home(), `[safe]\n\tdirectory = ${tree.root}\n\tdirectory =\n`);
    tree.git("-c", "safe.directory=*", "config", "safe.directory", "*");
    await expectRefused("another user's repository");
  });

  test("is accepted if it belongs to the user who called sudo", async () => {
    vi.stubEnv("SUDO_UID", "12345");
    expect(await images()).toEqual(["core-tool"]);
  });
});
