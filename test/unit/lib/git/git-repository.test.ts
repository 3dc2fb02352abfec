import { execFileSync } from "node:child_process";
import { readdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { GitError, localEnvironment, runGit } from "../../../../lib/git/git.ts";
import { findRepository } from "../../../../lib/git/git-repository.ts";
import { RepositoryError } from "../../../../lib/git/git-repository-checks.ts";
import { runGitIn } from "../../../../lib/git/isolated-git.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { writtenFolder } from "../../../support/builders/written-tree.ts";

const lines = async (folder: string, ...args: string[]) =>
  (await runGitIn(folder, args)).toString().trim().split("\n");

function committed(): { history: TreeHistory; commit: string; beside: string } {
  const history = new TreeHistory();
  return { history, commit: history.commit({ "packages/a": "a", b: "b" }), beside: writtenFolder({}) };
}

describe("reads as git does", () => {
  test("a linked worktree, with paths that are absolute or relative", async () => {
    const { history, commit, beside } = committed();
    const worktree = join(realpathSync(beside), "worktree");
    history.git("worktree", "add", "--quiet", "-b", "topic", worktree);
    history.commit({ c: "c" });
    const read = async () => [
      await lines(worktree, "rev-parse", "HEAD", "topic"),
      await lines(worktree, "ls-files"),
    ];
    const expected = [
      [commit, commit],
      ["b", "packages/a"],
    ];
    expect(await read()).toEqual(expected);
    expect(await findRepository(worktree)).toMatchObject({ workTree: worktree });
    const gitFolder = join(history.root, ".git/worktrees/worktree");
    const relative = execFileSync("realpath", ["--relative-to", gitFolder, `${worktree}/.git`], {
      encoding: "utf8",
    });
    writeFileSync(join(gitFolder, "gitdir"), relative);
    expect(await read()).toEqual(expected);
  });

  test("a submodule", async () => {
    const { history, commit } = committed();
    const outer = new TreeHistory();
    const add = ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet", history.root, "module"];
    outer.git(...add);
    expect(await lines(join(outer.root, "module"), "rev-parse", "HEAD")).toEqual([commit]);
    expect(await lines(join(outer.root, "module/packages"), "ls-files")).toEqual(["a"]);
  });

  test("a git folder that lies apart, once it names its worktree", async () => {
    const { history, commit, beside } = committed();
    const apart = join(realpathSync(beside), "apart");
    history.git("init", "--quiet", "--separate-git-dir", apart);
    const fix = `git -C ${apart} config core.worktree ${realpathSync(history.root)}`;
    await expect(findRepository(history.root)).rejects.toThrow(`(fix: ${fix})`);
    execFileSync("git", ["-C", apart, "config", "core.worktree", history.root]);
    expect(await lines(history.root, "rev-parse", "HEAD")).toEqual([commit]);
  });

  test("one with packed refs, a split index and names by SHA-256", async () => {
    const root = writtenFolder({ "packages/a": "a" });
    const own = (...args: string[]) =>
      execFileSync("git", ["-C", root, ...args], { encoding: "utf8" }).trim();
    own("init", "--quiet", "--object-format=sha256");
    own("add", "--all");
    own("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=One");
    own("tag", "1.0.0");
    own("pack-refs", "--all");
    own("gc", "--quiet");
    own("update-index", "--split-index");
    expect(await lines(root, "rev-parse", "1.0.0")).toEqual([own("rev-parse", "HEAD")]);
    expect(await lines(root, "ls-files")).toEqual(["packages/a"]);
  });

  test("a sparse index is listed whole", async () => {
    const { history } = committed();
    history.git("sparse-checkout", "set", "--cone", "--sparse-index", "other");
    expect(await lines(history.root, "ls-files")).toEqual(["b", "packages/a"]);
  });

  test("revisions by reflog, by FETCH_HEAD and by upstream", async () => {
    const { history, commit, beside } = committed();
    const clone = join(beside, "clone");
    execFileSync("git", ["clone", "--quiet", history.root, clone]);
    const next = history.commit({ c: "c" });
    execFileSync("git", ["-C", clone, "fetch", "--quiet"]);
    const meant = await lines(clone, "rev-parse", "HEAD", "HEAD@{0}", "FETCH_HEAD", "@{upstream}");
    expect(meant).toEqual([commit, commit, next, next]);
  });

  test("the upstream of a branch whose name has to be quoted", async () => {
    const { history, beside } = committed();
    const name = `a"b#c;d`;
    history.git("branch", name);
    const clone = join(beside, "clone");
    execFileSync("git", ["clone", "--quiet", "--branch", name, history.root, clone]);
    const upstream = await lines(clone, "rev-parse", "--abbrev-ref", "@{upstream}");
    expect(upstream).toEqual([`origin/${name}`]);
  });

  test("leaves no view behind, and writes nothing into the repository", async () => {
    const { history, beside } = committed();
    const state = () => readdirSync(history.root, { recursive: true }).sort();
    const before = state();
    vi.stubEnv("TMPDIR", beside);
    onTestFinished(() => void vi.unstubAllEnvs());
    await lines(history.root, "ls-files");
    await expect(lines(history.root, "rev-parse", "none")).rejects.toThrow(GitError);
    expect(readdirSync(beside)).toEqual([]);
    expect(state()).toEqual(before);
  });
});

test("rejects a configuration that git can't read", async () => {
  const { history } = committed();
  writeFileSync(join(history.root, ".git/config"), "[core\n");
  const failed = findRepository(history.root);
  await expect(failed).rejects.toBeInstanceOf(RepositoryError);
  await expect(failed).rejects.toThrow(`${realpathSync(history.root)}/.git/config: found`);
});

describe("a call of git", () => {
  const call = { folder: "/", environment: localEnvironment("/dev/null/none", null) };

  test("is ended when it prints too much", async () => {
    await expect(runGit(["version"], { ...call, bytes: 3 })).rejects.toThrow(
      "git version was ended: an answer of more than 3 bytes",
    );
  });

  test("is ended with its children when it takes too long", async () => {
    const folder = writtenFolder({});
    execFileSync("mkfifo", [join(folder, "pipe")]);
    const started = Date.now();
    const args = ["config", "--file", join(folder, "pipe"), "--list"];
    const waiting = runGit(args, { ...call, seconds: 0.5 });
    await expect(waiting).rejects.toMatchObject({
      message: "git config was ended: no end after 0.5 s",
      problem: "over-limit",
    });
    expect(Date.now() - started).toBeLessThan(20_000);
  });

  test("fails with a hint where git is not installed", async () => {
    const environment = { ...call.environment, PATH: "/nonexistent" };
    await expect(runGit(["version"], { ...call, environment })).rejects.toMatchObject({
      message: expect.stringMatching(/not installed.*apt-get install git/),
      problem: "not-installed",
    });
  });

  test("reports git's output on lines of their own, escaped and without credentials", async () => {
    const url = "https://token@\u202ehost.invalid/x";
    const failed = runGit(["-c", `http.proxy=${url}`, "config", "--bool", "http.proxy"], call);
    await expect(failed).rejects.toThrow("https://…@\\u202ehost.invalid/x");
  });
});
