import { readdir, readFile, readlink } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ended, Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("the engine's parallelism in stagex start", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    await project.set("images", '["bootstrap-hex0"]');
    await project.set("jobs", "40");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  /** What the engine of the project's run is told by its environment, from its start to its end. */
  async function told(environment: NodeJS.ProcessEnv = {}): Promise<string[]> {
    const args = ["start", "--stack", "test", "--no-rehearsal"];
    const running = project.startStagex(args, environment);
    const found = new Set<string>();
    while (running.process.exitCode === null) {
      for (const value of await engines()) found.add(value);
      await sleep(50);
    }
    const { code, output } = await ended(running);
    expect(code, output).toBe(0);
    return [...found];
  }

  /** PULUMI_PARALLEL of each `pulumi up` that runs in the project's folder. */
  async function engines(): Promise<string[]> {
    const processes = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const found = await Promise.all(
      processes.map(async (pid) => {
        // Any of them may be gone by now.
        const read = async (file: string) => await readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
        const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
        if (folder !== project.folder) return [];
        const [program = "", command] = (await read("cmdline")).split("\0");
        if (!program.endsWith("pulumi") || command !== "up") return [];
        const environ = await read("environ");
        return environ === "" ? [] : (/(?:^|\0)PULUMI_PARALLEL=(\d+)/.exec(environ)?.[1] ?? "none");
      }),
    );
    return found.flat();
  }

  test("is eight times the images that are built at once", async () => {
    expect(await told()).toEqual([String(Math.max(8 * 40, 4 * availableParallelism()))]);
  });

  test("is the user's number, if it is set", async () => {
    expect(await told({ PULUMI_PARALLEL: "5" })).toEqual(["5"]);
  });
});
