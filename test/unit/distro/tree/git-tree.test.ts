import { createHash } from "node:crypto";
import { chmodSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openGitTree, resolveCommit } from "../../../../distro/tree/git-tree.ts";
import { readTree, readTreeSource } from "../../../../distro/tree/tree.ts";
import { openWorkingTree } from "../../../../distro/tree/working-tree.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { git, packageFiles, writtenFolder } from "../../../support/builders/written-tree.ts";

const folder = "packages/core/tool";
const tool = packageFiles("core/tool");

async function listed(root: string, commit: string): Promise<string[]> {
  return (await openGitTree(root, commit)).files.map(({ path, mode }) => `${mode} ${path}`);
}

function shallowClone(history: TreeHistory): string {
  const clone = writtenFolder({});
  git(clone, "clone", "--quiet", "--depth=1", `file://${history.root}`, "tree");
  return join(clone, "tree");
}

describe("a revision's files", () => {
  test("come from its objects, whatever the working tree holds", async () => {
    const history = new TreeHistory();
    const commit = history.commit({
      ...tool,
      [`${folder}/a.patch`]: "old",
      "README.md": "",
      "digests/core.txt": "",
    });
    history.commit({ [`${folder}/a.patch`]: null });
    history.write({ [`${folder}/Containerfile`]: "FROM nothing\n" });
    expect(await listed(history.root, commit)).toEqual([
      "100644 digests/core.txt",
      `100644 ${folder}/Containerfile`,
      `100644 ${folder}/a.patch`,
      `100644 ${folder}/package.toml`,
    ]);
    const tree = await openGitTree(history.root, commit);
    expect(new TextDecoder().decode(await tree.read(`${folder}/a.patch`, 1000))).toBe("old");
    // printf old | sha256sum
    expect(await tree.sha256(`${folder}/a.patch`)).toBe(
      "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4",
    );
    await expect(tree.read("README.md", 1000)).rejects.toThrow(/not a file of the tree/);
  });

  test("equal those of a clean working tree: modes, links, empty files and binary content", async () => {
    const history = new TreeHistory();
    history.write({
      ...packageFiles("core/tool", { containerfile: "FROM scratch\nCOPY . /\n" }),
      [`${folder}/empty`]: "",
      [`${folder}/same`]: "x\n",
      [`${folder}/deep/same`]: "x\n",
      [`${folder}/run.sh`]: "#!/bin/sh\n",
      [`${folder}/a name with ü and\nnewline`]: "odd",
    });
    writeFileSync(
      join(history.root, folder, "bytes"),
      Uint8Array.from({ length: 512 }, (_, index) => index),
    );
    chmodSync(join(history.root, folder, "run.sh"), 0o755);
    symlinkSync("run.sh", join(history.root, folder, "link"));
    const commit = history.commit({});
    const [kept, now] = [
      await readTreeSource(await openGitTree(history.root, commit)),
      await readTree(history.root),
    ];
    expect([...kept.images]).toEqual([...now.images]);
    expect(kept.images.get("core-tool")?.context).toHaveLength(9);
  });

  test("are hashed in pieces where large, and refused for reading over the limit", async () => {
    const history = new TreeHistory();
    history.write({ ...tool, [`${folder}/large.bin`]: "" });
    truncateSync(join(history.root, folder, "large.bin"), 8 * 2 ** 20);
    const tree = await openGitTree(history.root, history.commit({}));
    expect(await tree.sha256(`${folder}/large.bin`)).toBe(
      createHash("sha256")
        .update(Buffer.alloc(8 * 2 ** 20))
        .digest("hex"),
    );
    await expect(tree.read(`${folder}/large.bin`, 2 ** 20)).rejects.toThrow(/more than the 1048576 bytes/);
    expect((await tree.read(`${folder}/large.bin`, 2 ** 26)).length).toBe(8 * 2 ** 20);
  });

  test("come from the given folder where the tree is a part of the repository", async () => {
    const history = new TreeHistory();
    const inner = Object.fromEntries(
      Object.entries(tool).map(([path, text]) => [`examples/small/${path}`, text]),
    );
    const commit = history.commit({ ...inner, ...packageFiles("user/outside") });
    expect(await listed(join(history.root, "examples/small"), commit)).toEqual([
      `100644 ${folder}/Containerfile`,
      `100644 ${folder}/package.toml`,
    ]);
  });

  test("are read from a bare repository", async () => {
    const history = new TreeHistory();
    const commit = history.commit(tool);
    const bare = writtenFolder({});
    git(bare, "clone", "--quiet", "--bare", history.root, "bare");
    expect(await listed(join(bare, "bare"), await resolveCommit(join(bare, "bare"), "main"))).toEqual(
      await listed(history.root, commit),
    );
  });

  test("report a submodule, and links out of the tree, like a working tree", async () => {
    const history = new TreeHistory();
    const first = history.commit(tool);
    symlinkSync("/etc/passwd", join(history.root, folder, "absolute"));
    symlinkSync("../../../../outside", join(history.root, folder, "outside"));
    symlinkSync("../../..", join(history.root, folder, "root"));
    history.git("update-index", "--add", "--cacheinfo", `160000,${first},packages/core/module`);
    history.git("add", folder);
    history.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "links");
    const { problems } = await openGitTree(history.root, await resolveCommit(history.root, "HEAD"));
    const expected = (await openWorkingTree(history.root)).problems;
    expect(expected).toHaveLength(3);
    expect(new Set(problems)).toEqual(new Set(expected));
  });
});

describe("resolveCommit", () => {
  test("resolves branches, both kinds of tags, short names and ancestors", async () => {
    const history = new TreeHistory();
    const first = history.commit(tool);
    history.git("tag", "2025.01.0");
    history.git("-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-a", "-m", "x", "2025.01.1");
    const second = history.commit({ [`${folder}/a.patch`]: "" });
    const meant = (revision: string) => resolveCommit(history.root, revision);
    expect(await Promise.all(["2025.01.0", "2025.01.1", "HEAD~", first.slice(0, 10)].map(meant))).toEqual(
      Array(4).fill(first),
    );
    expect(await meant("main")).toBe(second);
  });

  test("names the nearest revision for an unknown one", async () => {
    const history = new TreeHistory();
    history.commit(tool);
    history.git("tag", "2025.01.0");
    await expect(resolveCommit(history.root, "2025.1.0")).rejects.toThrow(
      'found no commit "2025.1.0", allowed: a commit, tag or branch of this repository; the nearest is 2025.01.0',
    );
  });

  test.each(["--all", "-h", "HEAD:packages", "HEAD..main", "", " ", "a\nb", "$(id)"])(
    "rejects %j",
    async (revision) => {
      const history = new TreeHistory();
      history.commit(tool);
      await expect(resolveCommit(history.root, revision)).rejects.toThrow("found no commit");
    },
  );

  test("gives the command that completes a shallow clone", async () => {
    const history = new TreeHistory();
    const first = history.commit(tool);
    history.commit({ [`${folder}/a.patch`]: "" });
    const clone = shallowClone(history);
    for (const revision of [first, "HEAD~"]) {
      await expect(resolveCommit(clone, revision)).rejects.toThrow(
        `in a shallow clone, allowed: a revision that the clone has (fix: git -C ${clone} fetch --unshallow --tags)`,
      );
    }
    git(clone, "fetch", "--quiet", "--unshallow", "--tags");
    expect(await resolveCommit(clone, "HEAD~")).toBe(first);
  });

  test("rejects a folder without a repository, and a repository without a commit", async () => {
    await expect(resolveCommit(writtenFolder(tool), "HEAD")).rejects.toThrow("found no git repository");
    await expect(resolveCommit(new TreeHistory().root, "HEAD")).rejects.toThrow(
      "found a repository without a commit",
    );
  });
});

describe("a damaged repository", () => {
  test("that lacks an object of the revision is reported with the file", async () => {
    const history = new TreeHistory();
    const commit = history.commit({ ...tool, [`${folder}/a.patch`]: "lost" });
    removeObject(history, history.git("rev-parse", `${commit}:${folder}/a.patch`).trim());
    await expect(openGitTree(history.root, commit)).rejects.toThrow(
      new RegExp(`${folder}/a.patch: git's object \\w+ is missing.*fsck`),
    );
  });

  test("with a changed object is reported", async () => {
    const history = new TreeHistory();
    const commit = history.commit({ ...tool, [`${folder}/a.patch`]: "whole" });
    const path = objectPath(history, history.git("rev-parse", `${commit}:${folder}/a.patch`).trim());
    rmSync(path);
    writeFileSync(path, "garbage");
    await expect(openGitTree(history.root, commit)).rejects.toThrow(`fix: git -C ${history.root} fsck`);
  });

  test("that is a partial clone is reported with the command that completes it, and fetches nothing", async () => {
    const history = new TreeHistory();
    const first = history.commit(tool);
    history.commit({ [`${folder}/Containerfile`]: "FROM scratch\n# other\n" });
    history.git("config", "uploadpack.allowFilter", "true");
    const clone = join(writtenFolder({}), "tree");
    git(history.root, "clone", "--quiet", "--filter=blob:none", `file://${history.root}`, clone);
    const fix = `git -C ${clone} fetch --refetch --no-filter`;
    for (const _ of ["twice", "the same"]) {
      await expect(openGitTree(clone, first)).rejects.toThrow(`a clone with all objects (fix: ${fix})`);
    }
    git(clone, "fetch", "--quiet", "--refetch", "--no-filter");
    expect(await listed(clone, first)).toEqual(await listed(history.root, first));
  });

  test("that lacks the tree object is reported", async () => {
    const history = new TreeHistory();
    const commit = history.commit(tool);
    removeObject(history, history.git("rev-parse", `${commit}:packages`).trim());
    await expect(openGitTree(history.root, commit)).rejects.toThrow(
      /allowed: a revision that git can read whole/,
    );
  });
});

test("writes nothing, and ignores git's environment variables", async () => {
  const history = new TreeHistory();
  const other = new TreeHistory();
  other.commit(packageFiles("core/other"));
  const commit = history.commit(tool);
  const state = () => readdirSync(history.root, { recursive: true }).sort();
  const before = state();
  process.env.GIT_DIR = join(other.root, ".git");
  try {
    await openGitTree(history.root, await resolveCommit(history.root, commit));
  } finally {
    delete process.env.GIT_DIR;
  }
  expect(state()).toEqual(before);
});

function removeObject(history: TreeHistory, object: string): void {
  rmSync(objectPath(history, object));
}

function objectPath({ root }: TreeHistory, object: string): string {
  return join(root, ".git/objects", object.slice(0, 2), object.slice(2));
}
