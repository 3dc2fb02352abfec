import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { leftoversOf, processesOf } from "../support/builders/leftovers.ts";
import { ended, Project, publishedDigests, type Run } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("npm start continues after a kill of any process of the one before", () => {
  let project: Project;
  let published: Record<string, string>;

  beforeAll(async () => {
    project = await Project.create();
    published = await publishedDigests(project.tree);
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  /** Starts, and kills what matches once so many images are in the ledger. */
  async function killAfter(images: number, victims: RegExp): Promise<Run> {
    const running = project.startStagex(["start", "--stack", "test"]);
    while ((await recordedImages()) < images) {
      if (running.process.exitCode !== null) throw new Error(`it ended too soon:\n${running.output()}`);
      await sleep(20);
    }
    const pids = await processesOf(project.folder, victims);
    if (pids.length === 0) throw new Error(`nothing to kill: ${await leftoversOf(project.folder)}`);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended when another did, or by itself: a step's program, a buildctl.
      }
    }
    return await ended(running);
  }

  async function recordedImages(): Promise<number> {
    const files = await readdir(join(project.folder, ".stagex/ledger"), { recursive: true }).catch(() => []);
    return files.filter((name) => /\/[^./][^/]*\.json$/.test(name)).length;
  }

  async function packagesInState(): Promise<string[]> {
    const state = await project.state();
    return [...state.matchAll(/"urn": "\S+stagex:index:Package::([^"]+)"/g)]
      .map(([, name = ""]) => name)
      .sort();
  }

  async function expectNothingLeft(): Promise<void> {
    await expect.poll(() => leftoversOf(project.folder), { timeout: 30_000, interval: 200 }).toEqual([]);
  }

  test("after a kill of the engine its processes end, and pulumi up reports the lock", async () => {
    const { code, output } = await killAfter(1, /^\d+ \S*pulumi up /);
    expect(output).toContain("pulumi up was ended by SIGKILL. What it built is kept");
    expect(code).toBe(1);
    // The state knows of none: it is the ledger that keeps them.
    expect(await packagesInState()).toEqual([]);
    await expectNothingLeft();
    const plain = await project.run(["up", "--yes", "--skip-preview", "--stack", "test"]);
    expect(plain.output).toContain("`pulumi cancel`");
    expect(plain.code).not.toBe(0);
  });

  test("after a kill of the provider finished images are not built again", async () => {
    const { code, output } = await killAfter(5, /providers\/stagex\/main\.ts/);
    expect(output).toContain("the next npm start goes on from there");
    expect(code).toBe(1);
    await expectNothingLeft();
  });

  test("after a kill of buildkitd it is started again, and open builds are repeated", async () => {
    const { code, output } = await killAfter(9, /buildkitd --config/);
    expect(output).toMatch(/builder is lost, waiting for it/);
    expect(code).toBe(0);
    await expectNothingLeft();
  });

  test("after a kill of everything at once, the daemon's reaper and the command too", async () => {
    const { code } = await killAfter(12, /./);
    expect(code).toBe(null);
  });

  test("the last run has the published digests, and leaves nothing behind", async () => {
    const { code, output } = await project.stagexStart();
    const images = Object.keys(published).length;
    expect(output).toContain(`${images} of ${images} equal`);
    const built = Number(/(\d+) built/.exec(output)?.[1]);
    expect(built).toBeLessThanOrEqual(images - 12);
    expect(code).toBe(0);
    expect(await project.digests()).toEqual(published);
    const names = Object.keys(published).sort();
    expect(await packagesInState()).toEqual(names);
    expect((await readdir(join(project.folder, "out"))).sort()).toEqual(names);
    await expectNothingLeft();
  });
});
