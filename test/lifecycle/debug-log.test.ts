import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { packageFiles, writeInto } from "../support/builders/written-tree.ts";
import { describeReal } from "../support/real-tools.ts";

describeReal("an update with STAGEX_DEBUG=1", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    for (const part of ["packages", "digests"]) await rm(join(project.tree, part), { recursive: true });
    writeInto(project.tree, {
      ...packageFiles("core/seed", { containerfile: "FROM scratch\nCOPY seed /seed\n" }),
      "packages/core/seed/seed": "a seed\n",
    });
    await project.commit("A tree of one image");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  test("shows buildctl's command lines and the scheduler's decisions, and no secret of the environment", async () => {
    const { output } = await project.up([], { STAGEX_DEBUG: "1", NPM_TOKEN: "npm_hunter2" });
    expect(output).toMatch(/debug buildctl: .*buildctl --addr unix:\S+ build --frontend dockerfile\.v0/);
    expect(output).toMatch(/debug scheduler: core-seed starts on /);
    expect(output).not.toContain("npm_hunter2");
  });
});
