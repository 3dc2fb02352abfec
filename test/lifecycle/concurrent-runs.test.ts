import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { processesOf } from "../support/builders/leftovers.ts";
import { ended, Project, publishedDigests } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("several runs at once", () => {
  let project: Project;
  let neighbour: Project;

  beforeAll(async () => {
    project = await Project.create();
    neighbour = await Project.create({ cache: project.environment.STAGEX_CACHE ?? "" });
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
    await neighbour[Symbol.asyncDispose]();
  });

  async function addLastingImages(seconds: number): Promise<void> {
    for (const name of ["one", "two", "three", "four"]) await addSleepingImage(project.tree, name, seconds);
    await project.commit("Images that last");
    await project.set("images", '["user-one", "user-two", "user-three", "user-four"]');
  }

  const building = async () => (await processesOf(project.folder, /buildctl .* build /)).length;

  test.each([
    [3, [], 3],
    [4, ["--parallel", "2"], 2],
  ])("with stagex:jobs %i and %j, %i images are built at once", async (jobs, args, expected) => {
    await addLastingImages(2 + expected);
    await project.set("jobs", String(jobs));
    const running = project.start(["up", "--yes", "--skip-preview", "--stack", "test", ...args]);
    let most = 0;
    while (running.process.exitCode === null) {
      most = Math.max(most, await building());
      await sleep(100);
    }
    expect(running.output()).toMatch(/[46] (created|updated)/);
    expect(running.process.exitCode).toBe(0);
    expect(most).toBe(expected);
  });

  test("the second npm start on one project reports the first, and does not disturb it", async () => {
    await addLastingImages(6);
    const running = project.startStagex(["start", "--stack", "test"]);
    await expect.poll(building, { timeout: 60_000, interval: 50 }).toBeGreaterThan(0);
    const second = await project.stagexStart();
    expect(second.output).toMatch(/another run has been working on stack test since .*kill -INT \d+/);
    expect(second.code).toBe(1);
    const { code, output } = await ended(running);
    expect(output).toContain("4 built");
    expect(code).toBe(0);
  });

  test("two projects that share a cache do not disturb each other", async () => {
    await project.run(["config", "rm", "stagex:images", "--stack", "test"]);
    const runs = await Promise.all([project, neighbour].map((each) => each.stagexStart()));
    expect(runs.map(({ code }) => code)).toEqual([0, 0]);
    expect(existsSync(`${neighbour.folder}/cache`)).toBe(false);
    const published = await publishedDigests(neighbour.tree);
    expect(await neighbour.digests()).toEqual(published);
    expect(await project.digests()).toMatchObject(published);
  });
});
