import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { leftoversOf, processesOf } from "../support/builders/leftovers.ts";
import { ended, Project, type Running } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("a run that the user ends in the middle of a long build", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    await addSleepingImage(project.tree, "sleeper", 120, ["core-filesystem"]);
    await project.commit("An image that takes long");
    await project.set("images", '["user-sleeper"]');
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  afterEach(async () => {
    await expect.poll(() => leftoversOf(project.folder), { timeout: 20_000, interval: 200 }).toEqual([]);
  });

  async function untilItSleeps(running: Running): Promise<void> {
    const sleeping = async () => {
      if (running.process.exitCode !== null) throw new Error(`it ended too soon:\n${running.output()}`);
      return (await processesOf(project.folder, /^\d+ \/sleep $/)).length;
    };
    await expect.poll(sleeping, { timeout: 60_000, interval: 100 }).toBe(1);
  }

  /** What Ctrl-C in a terminal does: all of the process group get the signal. */
  function interrupt({ process: child }: Running): void {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  }

  test("Ctrl-C ends npm start within seconds, and what is finished is kept", async () => {
    const running = project.startStagex(["start", "--stack", "test"]);
    await untilItSleeps(running);
    const pressed = performance.now();
    interrupt(running);
    const { code, output } = await ended(running);
    expect(performance.now() - pressed).toBeLessThan(10_000);
    expect(output).toContain("core-filesystem created");
    expect(output).toMatch(/user-sleeper \*\*creating failed\*\* error: cancelled by the engine/);
    expect(output).toContain("1 built, 0 reused");
    expect(code).toBe(1);
  });

  test("Ctrl-C twice makes the engine go without waiting; what it started goes too", async () => {
    const running = project.start(["up", "--yes", "--skip-preview", "--stack", "test"]);
    await untilItSleeps(running);
    interrupt(running);
    await expect.poll(running.output, { interval: 5 }).toContain("^C received");
    interrupt(running);
    const { code } = await ended(running);
    expect(code).not.toBe(0);
  });

  test("pulumi cancel takes a run's lock alone: the run goes on, until it is interrupted", async () => {
    const running = project.startStagex(["start", "--stack", "test"]);
    await untilItSleeps(running);
    expect(await project.run(["cancel", "--yes", "--stack", "test"])).toMatchObject({ code: 0 });
    interrupt(running);
    const { code, output } = await ended(running);
    expect(output).toContain("cancelled by the engine");
    expect(code).toBe(1);
  });

  test("the next run goes on from there", async () => {
    await addSleepingImage(project.tree, "sleeper", 1, ["core-filesystem"]);
    await project.commit("An image that takes less long");
    const { code, output } = await project.stagexStart();
    expect(output).toContain("1 built, 1 reused");
    expect(code).toBe(0);
  });
});
