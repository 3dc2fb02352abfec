import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readTree } from "../../../../distro/tree/tree.ts";
import { openWorkingTree } from "../../../../distro/tree/working-tree.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import {
  git,
  packageFiles,
  trackedTree,
  writeInto,
  writtenFolder,
} from "../../../support/builders/written-tree.ts";

const tool = packageFiles("core/tool");
const folder = "packages/core/tool";

async function listed(root: string): Promise<string[]> {
  return (await openWorkingTree(root)).files.map(({ path, mode }) => `${mode} ${path}`);
}

async function problems(root: string): Promise<string[]> {
  return (await openWorkingTree(root)).problems.map(({ file, found }) => `${file}: ${found}`);
}

describe("the working tree of a git repository", () => {
  test("lists the tracked files of packages and digests, sorted, with modes and contents from disk", async () => {
    const root = trackedTree({
      ...tool,
      [`${folder}/run.sh`]: "old",
      "README.md": "",
      "digests/core.txt": "",
    });
    writeInto(root, { [`${folder}/run.sh`]: "new", [`${folder}/build.log`]: "not tracked" });
    chmodSync(join(root, folder, "run.sh"), 0o755);
    expect(await listed(root)).toEqual([
      "100644 digests/core.txt",
      `100644 ${folder}/Containerfile`,
      `100644 ${folder}/package.toml`,
      `100755 ${folder}/run.sh`,
    ]);
    const tree = await openWorkingTree(root);
    expect(new TextDecoder().decode(await tree.read(`${folder}/run.sh`, 1000))).toBe("new");
    // printf new | sha256sum
    expect(await tree.sha256(`${folder}/run.sh`)).toBe(
      "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437",
    );
    await expect(tree.read(`${folder}/build.log`, 1000)).rejects.toThrow(/not a file of the tree/);
  });

  test("reads a tree that is a folder of a repository", async () => {
    const inner = Object.fromEntries(
      Object.entries(tool).map(([path, text]) => [`examples/small/${path}`, text]),
    );
    const root = trackedTree({ ...inner, ...packageFiles("user/outside") });
    expect(await listed(join(root, "examples/small"))).toEqual([
      `100644 ${folder}/Containerfile`,
      `100644 ${folder}/package.toml`,
    ]);
  });

  test("leaves out a tracked file that is missing on disk", async () => {
    const root = trackedTree({ ...tool, [`${folder}/a.patch`]: "" });
    rmSync(join(root, folder, "a.patch"));
    expect(await listed(root)).not.toContain(`100644 ${folder}/a.patch`);
    expect(await problems(root)).toEqual([]);
  });

  test("lists untracked digests", async () => {
    const root = trackedTree(tool);
    writeInto(root, { "digests/core.txt": "" });
    expect(await listed(root)).toContain("100644 digests/core.txt");
  });

  test("ignores the variables that git sets for its hooks", async () => {
    const other = trackedTree(packageFiles("core/other"));
    const root = trackedTree(tool);
    process.env.GIT_DIR = join(other, ".git");
    try {
      expect(await listed(root)).toContain(`100644 ${folder}/package.toml`);
    } finally {
      delete process.env.GIT_DIR;
    }
  });
});

describe("a disk without modes or links", () => {
  const recorded = () => trackedTree({ ...tool, [`${folder}/run.sh`]: "run", [`${folder}/link`]: "" });

  test("takes modes from git's index (core.fileMode)", async () => {
    const root = recorded();
    git(root, "update-index", "--chmod=+x", `${folder}/run.sh`);
    const before = () => listed(root);
    expect(await before()).toContain(`100644 ${folder}/run.sh`);
    git(root, "config", "core.fileMode", "false");
    for (const file of ["Containerfile", "package.toml"]) chmodSync(join(root, folder, file), 0o755);
    expect(await listed(root)).toEqual([
      `100644 ${folder}/Containerfile`,
      `100644 ${folder}/link`,
      `100644 ${folder}/package.toml`,
      `100755 ${folder}/run.sh`,
    ]);
  });

  test("takes a file for the link that git's index records (core.symlinks)", async () => {
    const root = recorded();
    rmSync(join(root, folder, "link"));
    symlinkSync("run.sh", join(root, folder, "link"));
    git(root, "add", "--all");
    rmSync(join(root, folder, "link"));
    writeInto(root, { [`${folder}/link`]: "run.sh" });
    expect(await listed(root)).toContain(`100644 ${folder}/link`);
    git(root, "config", "core.symlinks", "false");
    expect(await listed(root)).toContain(`120000 ${folder}/link`);
    expect(String(Buffer.from(await (await openWorkingTree(root)).read(`${folder}/link`, 1000)))).toBe(
      "run.sh",
    );
    writeInto(root, { [`${folder}/link`]: "/etc/passwd" });
    expect(await problems(root)).toEqual([`${folder}/link: a symbolic link to "/etc/passwd"`]);
  });
});

describe("a sparse checkout", () => {
  const sparse = () => {
    const history = new TreeHistory();
    history.commit({ ...tool, ...packageFiles("user/other"), "docs/page": "", "README.md": "" });
    return history;
  };

  test("without files of the tree is refused, with the command that restores them", async () => {
    const history = sparse();
    for (const index of [[], ["--sparse-index"]]) {
      history.git("sparse-checkout", "set", "--cone", ...index, "packages/core");
      await expect(openWorkingTree(history.root)).rejects.toThrow(
        /a sparse checkout without 2 of the tree's files, such as "packages\/user\/other\/Containerfile".*\(fix: git -C \S+ sparse-checkout disable\)/,
      );
      history.git("sparse-checkout", "disable");
      expect(await listed(history.root)).toHaveLength(4);
    }
  });

  test("without other files is accepted", async () => {
    const history = sparse();
    history.git("sparse-checkout", "set", "--cone", "packages");
    expect(await listed(history.root)).toHaveLength(4);
  });

  test("of one file, by its skip-worktree bit, is refused with that file in the fix", async () => {
    const history = sparse();
    history.git("update-index", "--skip-worktree", `${folder}/Containerfile`);
    expect(await listed(history.root)).toHaveLength(4);
    rmSync(join(history.root, folder, "Containerfile"));
    const fix = `update-index --no-skip-worktree ${folder}/Containerfile`;
    await expect(openWorkingTree(history.root)).rejects.toThrow(fix);
  });
});

describe.skipIf(process.getuid?.() !== 0)("a file that this user may not read", () => {
  test.each([folder, `${folder}/Containerfile`])(
    "reports %s with the command that makes it readable",
    async (path) => {
      const root = writtenFolder(tool);
      chmodSync(root, 0o755);
      chmodSync(join(root, path), 0);
      process.seteuid?.(65534);
      try {
        await expect(readTree(root)).rejects.toThrow(
          `${path}: found something that this user may not read (EACCES), allowed: what can be read (fix: chmod u+rX ${join(root, path)})`,
        );
      } finally {
        process.seteuid?.(0);
      }
    },
  );
});

describe("problems", () => {
  test("reports a package that git does not track", async () => {
    const root = trackedTree(tool);
    writeInto(root, packageFiles("core/fresh"));
    expect((await openWorkingTree(root)).problems).toEqual([
      {
        file: "packages/core/fresh/package.toml",
        found: "a file that git does not track",
        allowed: "packages that git tracks",
        fix: "git add packages/core/fresh",
      },
      {
        file: "packages/core/fresh/Containerfile",
        found: "a file that git does not track",
        allowed: "packages that git tracks",
        fix: "git add packages/core/fresh",
      },
    ]);
  });

  test("reports a repository without tracked files here as one problem", async () => {
    const root = writtenFolder({ ...tool, ...packageFiles("core/other") });
    git(root, "init", "--quiet");
    expect(await problems(root)).toEqual(["packages: a folder where git tracks nothing"]);
  });

  test.each(["/etc/passwd", "../../../../outside", "../../.."])(
    "rejects a symbolic link to %s",
    async (target) => {
      const root = trackedTree(tool);
      symlinkSync(target, join(root, folder, "link"));
      git(root, "add", "--all");
      const found =
        target === "../../.." ? [] : [`${folder}/link: a symbolic link to ${JSON.stringify(target)}`];
      expect(await problems(root)).toEqual(found);
    },
  );

  test("lists a link within the tree, with its target as content", async () => {
    const root = trackedTree(tool);
    symlinkSync("Containerfile", join(root, folder, "link"));
    git(root, "add", "--all");
    expect(await listed(root)).toContain(`120000 ${folder}/link`);
    expect(new TextDecoder().decode(await (await openWorkingTree(root)).read(`${folder}/link`, 1000))).toBe(
      "Containerfile",
    );
  });

  test("rejects a folder that was replaced by a link out of the tree", async () => {
    const root = trackedTree(tool);
    const elsewhere = writtenFolder({ Containerfile: "FROM scratch\n", "package.toml": "secret" });
    renameSync(join(root, folder), join(root, "moved"));
    symlinkSync(elsewhere, join(root, folder));
    expect(await problems(root)).toEqual([`${folder}: a symbolic link where git tracks files`]);
    expect(await listed(root)).toEqual([]);
  });

  test("reports an unresolved merge", async () => {
    const root = trackedTree({ ...tool, [`${folder}/f`]: "base" });
    const commit = (text: string) => {
      writeInto(root, { [`${folder}/f`]: text });
      git(root, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-aqm", text);
    };
    commit("one");
    git(root, "branch", "other", "HEAD");
    commit("two");
    git(root, "checkout", "-q", "other");
    commit("three");
    expect(() =>
      git(root, "-c", "user.name=t", "-c", "user.email=t@example.com", "merge", "-q", "-"),
    ).toThrow();
    expect(await problems(root)).toEqual([`${folder}/f: an unresolved merge conflict`]);
  });

  test("rejects an address without showing its user or password", async () => {
    const refusal = "https://…: found no such folder, allowed: the folder of a StageX tree, and no address";
    await expect(openWorkingTree("https://TOKEN@host.example/tree#v1")).rejects.toThrow(refusal);
  });

  test("rejects a missing folder, and a file", async () => {
    const root = writtenFolder({ file: "" });
    await expect(openWorkingTree(join(root, "none"))).rejects.toThrow("no such folder");
    await expect(openWorkingTree(join(root, "file"))).rejects.toThrow("found a file");
  });
});

test("reads all files of a folder without a repository", async () => {
  const root = writtenFolder({ ...tool, "fetch/core/tool/x.tgz": "", [`${folder}/deep/a.patch`]: "" });
  mkdirSync(join(root, folder, "empty"));
  expect(await listed(root)).toEqual([
    `100644 ${folder}/Containerfile`,
    `100644 ${folder}/deep/a.patch`,
    `100644 ${folder}/package.toml`,
  ]);
  expect(await problems(root)).toEqual([]);
});
