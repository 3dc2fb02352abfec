import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { leftoversOf } from "../support/builders/leftovers.ts";
import { Project, publishedDigests } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("digests do not depend on the project's path or the user's settings", () => {
  let scratch = "";
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), "odd-places-"));
  });
  afterEach(() => rmSync(scratch, { recursive: true }));

  async function expectSameDigests(project: Project, environment: NodeJS.ProcessEnv = {}): Promise<void> {
    const { code, output } = await project.stagexStart([], environment);
    expect(output).toContain("18 built");
    expect(code).toBe(0);
    expect(await project.digests()).toEqual(await publishedDigests(project.tree));
    await expect.poll(() => leftoversOf(project.folder), { timeout: 20_000, interval: 200 }).toEqual([]);
  }

  test("with a long path of blanks, commas, equals signs, quotes and foreign letters", async () => {
    const folder = join(scratch, `Bäume, "a=b" & 'c' 木`, "x".repeat(100));
    await using project = await Project.create({ folder });
    await expectSameDigests(project, { TMPDIR: undefined });
  });

  test("with private files, and variables that BuildKit, git and others read", async () => {
    await using project = await Project.create();
    execFileSync("chmod", ["-R", "go-rwx", project.tree]);
    const before = process.umask(0o077);
    try {
      await expectSameDigests(project, {
        TZ: "Asia/Kathmandu",
        LANG: "de_DE.UTF-8",
        LC_ALL: "tr_TR.UTF-8",
        SOURCE_DATE_EPOCH: "86400",
        DOCKER_CONFIG: "/nonexistent",
        DOCKER_HOST: "unix:///nonexistent/docker.sock",
        BUILDKIT_PROGRESS: "plain",
        BUILDKIT_COLORS: "run=red",
        BUILDKIT_SYNTAX: "docker/dockerfile:1",
        HTTP_PROXY: "http://127.0.0.1:9",
        HTTPS_PROXY: "http://127.0.0.1:9",
        ALL_PROXY: "socks5://127.0.0.1:9",
        NO_COLOR: "1",
        NODE_OPTIONS: "--max-old-space-size=2048",
        GIT_CONFIG_PARAMETERS: "'core.quotepath=true'",
      });
    } finally {
      process.umask(before);
    }
  });
});

const isRoot = process.getuid?.() === 0;

describeReal("obstacles on the disk are named, and nothing is lost", () => {
  let project: Project;

  beforeEach(async () => {
    project = await Project.create();
    await project.set("images", '["user-hello"]');
  });

  afterEach(async () => {
    await project[Symbol.asyncDispose]();
  });

  async function expectFinished(): Promise<void> {
    const { code, output } = await project.stagexStart();
    expect(output).toContain("11 of 11 equal");
    expect(code).toBe(0);
  }

  test.runIf(isRoot)("a full disk", async () => {
    const state = join(project.folder, ".stagex");
    const overMount = 'cp -a "$1" "$1.kept" && mount -t tmpfs -o size=2m none "$1" && cp -a "$1.kept/." "$1"';
    execFileSync("sh", ["-c", overMount, "sh", state]);
    try {
      const full = await project.stagexStart();
      expect(full.output).toContain("The disk is full: make room, and run the same command again");
      expect(full.code).toBe(1);
      // BuildKit's records may name what it could not make: its cache is gone by the time somebody has made room.
      await expect.poll(() => existsSync(join(state, "buildkit/state")), { timeout: 20_000 }).toBe(false);
      execFileSync("mount", ["-o", "remount,size=1g", state]);
      await expectFinished();
      await expect.poll(() => leftoversOf(project.folder), { timeout: 20_000 }).toEqual([state]);
    } finally {
      execFileSync("umount", ["--lazy", state]);
    }
  });

  test.each([
    { name: "as a full disk leaves it", cut: (text: string) => text.slice(0, text.length / 2), backup: true },
    { name: "of which nothing could be written, nor of its backup", cut: () => "", backup: false },
  ])("a state $name", async ({ cut, backup }) => {
    await expectFinished();
    const state = join(project.folder, ".stagex/pulumi/.pulumi/stacks/stagex/test.json");
    writeFileSync(`${state}.cut`, cut(readFileSync(state, "utf8")));
    renameSync(`${state}.cut`, state);
    if (!backup) writeFileSync(`${state}.bak`, "");
    const { code, output } = await project.stagexStart();
    expect(output).toMatch(/the state of stack test was cut off, as a full disk leaves it: went back to/);
    expect(output).toContain("11 of 11 equal");
    expect(code).toBe(0);
    expect((await project.up()).built).toEqual([]);
  });

  test.runIf(isRoot)("an out/ that can't be written to", async () => {
    const out = join(project.folder, "out");
    mkdirSync(out);
    execFileSync("mount", ["-t", "tmpfs", "-o", "ro", "none", out]);
    try {
      const { code, output } = await project.stagexStart();
      expect(output).toMatch(/EROFS: .*\/out\/.*It lies on a file system that is read-only/);
      expect(code).toBe(1);
    } finally {
      execFileSync("umount", ["--lazy", out]);
    }
    await expectFinished();
  });

  test("a plain pulumi below the project's folder, which finds no stack there and leaves nothing", async () => {
    const run = promisify(execFile)("pulumi", ["stack", "ls"], {
      cwd: project.tree,
      env: project.environment,
    });
    await expect(run).rejects.toMatchObject({
      stderr: expect.stringMatching(/tree\/\.stagex\/pulumi: no such file or directory/),
    });
    expect(existsSync(join(project.tree, ".stagex"))).toBe(false);
  });

  test("a file where a folder should be", async () => {
    const paths = ["out", ".stagex/store", ".stagex/ledger", ".stagex/buildkit", "cache/sources"];
    for (const place of paths) {
      const path = join(project.folder, place);
      rmSync(path, { recursive: true, force: true });
      writeFileSync(path, "");
      const { code, output } = await project.run(["up", "--yes", "--skip-preview", "--stack", "test"]);
      expect(output).toContain(path);
      expect(output).toContain("Something that is no folder is in its place: move it away");
      expect(code).not.toBe(0);
      rmSync(path);
    }
    await expectFinished();
  });
});
