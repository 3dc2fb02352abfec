import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { queryDaemon } from "../../buildkit/client/daemon-query.ts";
import { SolveError } from "../../buildkit/client/solve-error.ts";
import { acquireDaemon } from "../../buildkit/daemon/daemon.ts";
import { isAlive, type ProcessIdentity } from "../../lib/fs/pid-identity.ts";
import { BuildWorkspace, buildctl, programs } from "../support/builders/build-workspace.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("the private daemon", () => {
  let bench: BuildWorkspace;

  beforeAll(async () => {
    bench = await BuildWorkspace.open();
  });

  afterAll(async () => {
    await bench?.close();
  });

  type DaemonRecord = { daemon: ProcessIdentity; keeper: ProcessIdentity };

  async function recordOf(root: string): Promise<DaemonRecord> {
    return JSON.parse(await readFile(join(root, "daemon.json"), "utf8")) as DaemonRecord;
  }

  async function gone(...processes: ProcessIdentity[]): Promise<boolean> {
    for (let tries = 0; processes.some(isAlive) && tries < 300; tries++) await sleep(50);
    return !processes.some(isAlive);
  }

  /** A process that uses the daemon, once it has it. */
  async function startUser(root: string): Promise<{ user: ChildProcess; address: string }> {
    const program = fileURLToPath(new URL("../support/programs/daemon-user.ts", import.meta.url));
    const user = spawn(process.execPath, [program, programs().buildkitd, programs().runc, root], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = await once(user.stdout ?? user, "data");
    return { user, address: String(line).trim() };
  }

  test("shares one daemon among all users, and the last one ends it", async () => {
    const root = join(bench.folder, "shared");
    const others = await Promise.all([startUser(root), startUser(root)]);
    const own = await Promise.all([
      acquireDaemon({ ...programs(), root }),
      acquireDaemon({ ...programs(), root }),
    ]);
    expect(new Set([...others, ...own].map(({ address }) => address)).size).toBe(1);
    const { daemon, keeper } = await recordOf(root);

    for (const { user } of others) {
      user.stdin?.end();
      await once(user, "exit");
    }
    await own[0]?.release();
    expect(isAlive(daemon)).toBe(true);
    await own[1]?.release();
    expect(isAlive(daemon)).toBe(false);
    await own[1]?.release();
    expect(await gone(keeper)).toBe(true);
  });

  test("the daemon is in a session of its own, and its socket in a folder of this user alone", async () => {
    const { use, root } = await bench.daemon("private");
    const { daemon } = await recordOf(root);
    const status = await promisify(execFile)("ps", ["-o", "sid=", "-p", String(daemon.pid)]);
    expect(Number(status.stdout)).toBe(daemon.pid);
    const folder = dirname(use.address.slice("unix://".length));
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await use.release();
  });

  test("a state folder with a very long path is no hindrance", async () => {
    const { endpoint } = await bench.daemon(join(...Array.from({ length: 10 }, () => "a-rather-long-name")));
    expect((await queryDaemon(endpoint)).platforms).toContain("linux/amd64");
  });

  test("the daemon of a killed user goes on for the next", async () => {
    const root = join(bench.folder, "orphan");
    const { user } = await startUser(root);
    const { daemon } = await recordOf(root);
    user.kill("SIGKILL");
    await once(user, "exit");
    const use = await acquireDaemon({ ...programs(), root });
    expect((await recordOf(root)).daemon).toEqual(daemon);
    expect((await queryDaemon({ address: use.address, buildctl: buildctl() })).version).toMatch(/^v/);
    await use.release();
    expect(isAlive(daemon)).toBe(false);
  });

  test("a daemon whose users were all killed ends by itself", async () => {
    const root = join(bench.folder, "deserted");
    const users = [await startUser(root), await startUser(root)];
    const { daemon, keeper } = await recordOf(root);
    for (const { user } of users) user.kill("SIGKILL");
    expect(await gone(daemon, keeper)).toBe(true);
  });

  test("a daemon whose state folder was removed ends by itself", async () => {
    const root = join(bench.folder, "removed");
    const { user } = await startUser(root);
    const { daemon, keeper } = await recordOf(root);
    await rm(root, { recursive: true, force: true });
    expect(await gone(daemon, keeper)).toBe(true);
    user.kill("SIGKILL");
  });

  test.runIf(process.getuid?.() === 0)("the cache of a daemon whose disk is full is given up", async () => {
    const root = join(bench.folder, "full");
    await mkdir(root, { mode: 0o700 });
    await promisify(execFile)("mount", ["-t", "tmpfs", "-o", "size=128m", "none", root]);
    try {
      const { release } = await acquireDaemon({ ...programs(), root });
      await release();
      const cache = await readdir(join(root, "state"));
      expect(cache).toContain("cache.db");

      const again = await acquireDaemon({ ...programs(), root });
      await writeFile(join(root, "ballast"), Buffer.alloc(100 * 1024 * 1024));
      await again.release();
      expect(await readdir(root)).not.toContain("state");
      await rm(join(root, "ballast"));
      const last = await acquireDaemon({ ...programs(), root });
      await last.release();
      expect(await readdir(join(root, "state"))).toEqual(cache);
    } finally {
      await promisify(execFile)("umount", ["--lazy", root]);
    }
  });

  test("a daemon that was started but never recorded is replaced", async () => {
    const root = join(bench.folder, "unrecorded");
    const { user } = await startUser(root);
    const { daemon, keeper } = await recordOf(root);
    process.kill(keeper.pid, "SIGKILL");
    user.kill("SIGKILL");
    await rm(join(root, "daemon.json"));
    const use = await acquireDaemon({ ...programs(), root });
    expect(isAlive(daemon)).toBe(false);
    expect((await recordOf(root)).daemon.pid).not.toBe(daemon.pid);
    await use.release();
  });

  test("after a kill -9 of the daemon in mid-build the next one builds the same, and nothing is left of the first", async () => {
    const first = await bench.daemon("killed");
    const { daemon } = await recordOf(first.root);
    const recipe = (seconds: number) => ({
      containerfile: `FROM scratch\nADD probe /probe\nRUN ["/probe", "write", "/out", "made"]\nRUN ["/probe", "sleep", "${seconds}"]\n`,
      files: { probe: bench.probe },
    });
    const outcome = bench.build(first.endpoint, recipe(8765)).catch((error: unknown) => error);
    const running = async () =>
      (await promisify(execFile)("ps", ["-eo", "args"])).stdout.includes("/probe sleep 8765");
    while (!(await running())) await sleep(50);
    process.kill(daemon.pid, "SIGKILL");
    const failure = await outcome;
    expect(failure).toBeInstanceOf(SolveError);
    expect(String(failure)).toMatch(/BuildKit went away during the build: run the same command again/);
    expect(await bench.leftovers()).toEqual([]);

    const second = await bench.daemon("killed");
    expect(await running()).toBe(false);
    expect(await readFile("/proc/self/mountinfo", "utf8")).not.toContain(first.root);
    const again = await bench.build(second.endpoint, recipe(0));
    const elsewhere = await bench.daemon("undisturbed");
    expect(again.index).toBe((await bench.build(elsewhere.endpoint, recipe(0))).index);
  });

  test("a daemon that ends at once is an error with the end of its log", async () => {
    const buildkitd = join(bench.folder, "no-buildkitd");
    const log =
      "starting\nbuildkitd: operation not permitted\nmain.main\n\tmain.go:269\nruntime.goexit\n\tasm.s:1771\n";
    await writeFile(buildkitd, `#!/bin/sh\ncat <<'END'\n${log}END\nexit 3\n`);
    await chmod(buildkitd, 0o755);
    const root = join(bench.folder, "failing");
    const failed = acquireDaemon({ ...programs(), buildkitd, root });
    await expect(failed).rejects.toThrow(
      /did not start: it ended at once \(3\)\. .*BUILDKIT_HOST.*\n.*\.log:\nstarting\nbuildkitd: operation not permitted$/,
    );
    expect(await readdir(join(root, "leases"))).toEqual([]);
  });

  test("a buildkitd that is not there is named", async () => {
    const failed = acquireDaemon({
      ...programs(),
      buildkitd: "/nowhere/buildkitd",
      root: join(bench.folder, "absent"),
    });
    await expect(failed).rejects.toThrow(/\/nowhere\/buildkitd can't be run/);
  });

  test("an aborted request starts nothing", async () => {
    const root = join(bench.folder, "aborted");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(acquireDaemon({ ...programs(), root, signal })).rejects.toThrow("enough");
    await expect(stat(root)).rejects.toThrow(/ENOENT/);
  });
});
