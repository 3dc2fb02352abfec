import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

const fixture = fileURLToPath(new URL("../fixtures/earlier-version", import.meta.url));
const images = {
  "core-one": "sha256:29ad02d3712608100cf10b744bf295d319d18b051ebdab5ec39ccb74e07a20c8",
  "core-two": "sha256:86f1214daf4527071d46add538f6e10fbf2398743845b254e8a10875405cde64",
};
/** No daemon answers there: a build, or a question to BuildKit, fails. */
const noBuilder = { BUILDKIT_HOST: "unix:///nonexistent/buildkitd.sock" };

describeReal("a stack made by an earlier version", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
    const state = join(project.folder, ".stagex");
    await rm(project.tree, { recursive: true });
    await cp(join(fixture, "tree"), project.tree, { recursive: true });
    await cp(join(fixture, "Pulumi.test.yaml"), join(project.folder, "Pulumi.test.yaml"));
    for (const part of ["ledger", "built", "store"])
      await cp(join(fixture, "state", part), join(state, part), { recursive: true });
    await cp(join(fixture, "state/exported"), join(project.folder, "out"), { recursive: true });
    await cp(join(fixture, "state/pulumi/pulumi"), join(state, "pulumi/.pulumi"), {
      recursive: true,
      force: true,
    });
    await project.git("init", "--quiet");
    await project.commit("The tree");
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  test("previews without a change", async () => {
    const { code, output } = await project.run(
      ["preview", "--stack", "test", "--expect-no-changes"],
      noBuilder,
    );
    expect(output).toContain("0 will build, 0 may be cut off, 0 from the ledger, 2 unchanged.");
    expect(code).toBe(0);
  });

  test("is brought up and refreshed without a build", async () => {
    const { code, output, built } = await project.up(["--refresh"], noBuilder);
    expect(output).toContain("4 unchanged");
    expect(code).toBe(0);
    expect(built).toEqual([]);
    expect(await project.digests()).toEqual(images);
  });

  test("warns of a configuration key's earlier name, and shows no change once it has the new one", async () => {
    const file = join(project.folder, "Pulumi.test.yaml");
    const settings = await readFile(file, "utf8");
    const before = await project.run(["preview", "--stack", "test"], noBuilder);
    expect(before.output).toContain("stagex:trust is now stagex:substituteTrust");
    await writeFile(file, settings.replace("stagex:trust:", "stagex:substituteTrust:"));
    const after = await project.run(["preview", "--stack", "test", "--expect-no-changes"], noBuilder);
    expect(after.output).not.toContain("stagex:trust is now");
    expect(after.code).toBe(0);
    await writeFile(file, settings);
  });

  test("gives its ledger and its store to another stack, which builds nothing", async () => {
    await project.run(["stack", "init", "other"]);
    await project.set("tree", "tree", "other");
    const { code, output } = await project.run(
      ["up", "--yes", "--skip-preview", "--stack", "other"],
      noBuilder,
    );
    expect(output).toContain("4 created");
    expect(code).toBe(0);
    const { output: digests } = await project.run([
      "stack",
      "output",
      "images",
      "--json",
      "--stack",
      "other",
    ]);
    expect(JSON.parse(digests)).toEqual(images);
  });

  test("rebuilds what a change reaches, and nothing else", async () => {
    await project.edit("packages/core/two/answer", () => "Good day\n");
    const { code, built } = await project.up();
    expect(code).toBe(0);
    expect(built).toEqual(["core-two"]);
  });
});
