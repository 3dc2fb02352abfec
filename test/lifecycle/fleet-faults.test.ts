import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ended, Project, type Running } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal } from "../support/real-tools.ts";
import { TlsDaemon } from "../support/servers/tls-daemon.ts";

describeReal("a run on machines at addresses that the user ends in the middle of a long build", () => {
  let project: Project;
  let daemons: TlsDaemon[];

  beforeAll(async () => {
    daemons = [await TlsDaemon.start(), await TlsDaemon.start()];
    project = await Project.create();
    await addSleepingImage(project.tree, "sleeper", 120, ["core-filesystem"]);
    await project.commit("An image that takes long");
    await project.set("images", '["user-sleeper"]');
    const entries = daemons.map((daemon, number) => entry(`machine-${number}`, daemon));
    await project.set("builders", JSON.stringify(await Promise.all(entries)));
  });

  afterAll(async () => {
    await project?.[Symbol.asyncDispose]();
    for (const daemon of daemons ?? []) await daemon[Symbol.asyncDispose]();
  });

  async function entry(name: string, daemon: TlsDaemon): Promise<object> {
    const folder = `credentials/${name}`;
    await mkdir(join(project.folder, folder), { recursive: true });
    const { ca, cert, key } = await daemon.client();
    for (const [kind, path] of Object.entries({ ca, cert, key }))
      await writeFile(join(project.folder, folder, `${kind}.pem`), await readFile(path));
    const tls = Object.fromEntries(["ca", "cert", "key"].map((kind) => [kind, `${folder}/${kind}.pem`]));
    return { name, address: daemon.address, tls };
  }

  /** How many of the daemons' solves are asleep. */
  async function asleep(): Promise<number> {
    const running = await Promise.all(daemons.map((daemon) => daemon.running()));
    return running.flat().filter((words) => words.trim() === "/sleep").length;
  }

  async function untilItSleeps(running: Running): Promise<void> {
    const sleeping = async () => {
      if (running.process.exitCode !== null) throw new Error(`it ended too soon:\n${running.output()}`);
      return await asleep();
    };
    await expect.poll(sleeping, { timeout: 120_000, interval: 100 }).toBe(1);
  }

  /** What Ctrl-C in a terminal does: all of the process group get the signal. */
  function interrupt({ process: child }: Running): void {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  }

  const noneGoesOn = () => expect.poll(asleep, { timeout: 20_000, interval: 100 }).toBe(0);

  test("Ctrl-C ends the solve on its machine, whether or not pulumi cancel came before", async () => {
    const running = project.startStagex(["start", "--stack", "test"]);
    await untilItSleeps(running);
    expect(await project.run(["cancel", "--yes", "--stack", "test"])).toMatchObject({ code: 0 });
    interrupt(running);
    const { code, output } = await ended(running);
    await noneGoesOn();
    expect(output).toContain("core-filesystem created");
    expect(output).toMatch(/user-sleeper \*\*creating failed\*\* error: cancelled by the engine/);
    expect(output).not.toContain("is lost");
    expect(code).toBe(1);
  });

  test("so does Ctrl-C twice, and a killed engine", async () => {
    const twice = project.start(["up", "--yes", "--skip-preview", "--stack", "test"]);
    await untilItSleeps(twice);
    interrupt(twice);
    await expect.poll(twice.output, { interval: 5 }).toContain("^C received");
    interrupt(twice);
    expect((await ended(twice)).code).not.toBe(0);
    await noneGoesOn();
    const killed = project.start(["up", "--yes", "--skip-preview", "--stack", "test"]);
    await untilItSleeps(killed);
    killed.process.kill("SIGKILL");
    await noneGoesOn();
    await ended(killed);
    await project.run(["cancel", "--yes", "--stack", "test"]);
  });

  test("and no finished image is lost: the next run builds what is missing alone", async () => {
    await addSleepingImage(project.tree, "sleeper", 1, ["core-filesystem"]);
    await project.commit("An image that takes less long");
    const { code, output } = await project.stagexStart();
    expect(output).toContain("1 built, 1 reused");
    expect(code).toBe(0);
  });
});
