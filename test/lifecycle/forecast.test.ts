import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

const prices = {
  date: "2026-03-01",
  currency: "USD",
  perHour: { "m8i.4xlarge": 3600, "m8a.4xlarge": 7200 },
};

describeReal("what a preview says of time and cost", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    await project.set("verify", "false");
    await project.set("prices", JSON.stringify(prices));
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  const preview = async () => await project.run(["preview", "--stack", "test"]);
  const setJson = async (key: string, value: unknown) => await project.set(key, JSON.stringify(value));

  test("before anything was built: several sizes of every machine with a price, by rough guesses, and said so", async () => {
    const { code, output } = await preview();
    expect(code, output).toBe(0);
    expect(output).toMatch(/builders +images at once +hours +at work +cost/);
    for (const machine of ["m8i", "m8a"])
      for (const count of [1, 2, 4, 8])
        expect(output).toMatch(
          new RegExp(`${count} ${machine}\\.4xlarge +${count * 4} +[\\d.]+ +\\d+ % +[\\d.]+ USD`),
        );
    expect(output).toMatch(/Prices of 2026-03-01\. The durations of 18 images are not recorded/);
    // The same, for programs.
    const written = JSON.parse(await readFile(join(project.folder, ".stagex/forecast.json"), "utf8"));
    expect(written).toMatchObject({ willBuild: 18, costs: expect.any(Array) });
    expect(written.costs[0]).toMatchObject({ pricesOf: "2026-03-01" });
  });

  test("an up that is held to a saved plan gives what was planned", async () => {
    const plan = join(project.folder, "plan.json");
    const saved = await project.run(["preview", "--stack", "test", "--save-plan", plan]);
    expect(saved.code, saved.output).toBe(0);
    const held = await project.up(["--plan", plan]);
    expect(held.code, held.output).toBe(0);
    expect(held.built).toHaveLength(18);
  });

  test("once all has been built, a preview has nothing to price", async () => {
    const { code, output } = await project.up();
    expect(code, output).toBe(0);
    const again = await preview();
    expect(again.output).toContain("18 unchanged");
    expect(again.output).not.toMatch(/images at once|USD/);
  });

  test("a new stack's preview finds all in the ledger, and the next one without reading it again", async () => {
    await project.run(["stack", "init", "second"]);
    for (const key of ["tree", "verify"] as const)
      await project.run([
        "config",
        "set",
        `stagex:${key}`,
        key === "tree" ? "tree" : "false",
        "--stack",
        "second",
      ]);
    const left = join(project.folder, ".stagex/recollection.json");
    const found = async () => Object.keys(JSON.parse(await readFile(left, "utf8")).memories).length;
    const second = async () => {
      const { code, output } = await project.run(["preview", "--stack", "second"]);
      expect(code, output).toBe(0);
      expect(output).toContain("0 will build, 0 may be cut off, 18 from the ledger");
    };
    // What was made a moment ago is looked at again.
    await vi.waitFor(
      async () => {
        await second();
        expect(await found()).toBe(18);
      },
      { timeout: 60_000, interval: 2000 },
    );
    const before = await stat(left);
    await second();
    expect((await stat(left)).ino).toBe(before.ino);
    await project.run(["stack", "rm", "second", "--yes"]);
  });

  test("a change is priced by what was recorded, on the fleet that is configured: nobody has to reach it", async () => {
    await project.edit("packages/bootstrap/hex0/Containerfile", (text) => `${text}# changed\n`);
    const builder = (name: string, machine: string, vendor: string) => ({
      ...{
        name,
        machine,
        vendor,
        address: `tcp://${name}.invalid:1234`,
        platforms: ["linux/amd64"],
        slots: 3,
      },
    });
    await setJson("builders", [
      builder("west", "m8i.4xlarge", "GenuineIntel"),
      builder("east", "m8a.4xlarge", "AuthenticAMD"),
    ]);
    const { code, output } = await preview();
    expect(code, output).toBe(0);
    expect(output).toMatch(/If all are built: about .* on 6 build slots/);
    expect(output).toMatch(/1 m8i\.4xlarge \+ 1 m8a\.4xlarge +6 +0\.\d\d +\d+ % +[\d.]+ USD/);
    expect(output).toMatch(/4 m8i\.4xlarge \+ 4 m8a\.4xlarge +24 /);
    expect(output).not.toContain("rough guesses");
    await setJson("reproduceOn", ["GenuineIntel", "AuthenticAMD"]);
    expect((await preview()).output).toMatch(/on 3 build slots/);
  });

  test("prices that are none are refused, with what is wrong", async () => {
    await setJson("prices", { ...prices, date: "yesterday" });
    const { code, output } = await preview();
    expect(code).not.toBe(0);
    expect(output).toMatch(/stagex:prices\.date: /);
  });
});
