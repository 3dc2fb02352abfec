import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { addSleepingImage } from "../support/builders/sleeping-image.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("an image that fails", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    await project.edit("packages/core/sh/Containerfile", (text) =>
      text.replace('"sh.stem"', '"absent.stem"'),
    );
    await addSleepingImage(project.tree, "slow", 10);
    await addSleepingImage(project.tree, "after", 0, ["user-slow"]);
    await project.commit("One image fails before another is finished, on which a third waits");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  test("with --continue-on-error all images that don't depend on it are built", async () => {
    const { code, output, built } = await project.up(["--continue-on-error"]);
    expect(code).not.toBe(0);
    expect(output).toContain("core-sh can't be built");
    expect(output).toContain("absent.stem:1:  cannot be read");
    const independent =
      "bootstrap-hex0 bootstrap-hex1 bootstrap-stem0 core-filesystem core-libstem core-stem";
    expect(built).toEqual([...independent.split(" "), "user-after", "user-book", "user-slow"]);
  });

  test("is reported once, without a stack trace of the program", async () => {
    const { output } = await project.up(["--continue-on-error"]);
    const said = output.slice(output.indexOf("Diagnostics:"));
    expect(said.match(/core-sh failed, so what is built from it is not built in this run/g)).toHaveLength(1);
    expect(said).not.toMatch(/unhandled exception|error serializing| {4}at /);
  });
});
