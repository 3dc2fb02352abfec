import { execFileSync } from "node:child_process";
import { rename } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Project } from "../support/builders/project.ts";
import { describeReal } from "../support/real-tools.ts";

const nobody = { BUILDKIT_HOST: "unix:///nonexistent/buildkitd.sock" };

describeReal("trees that can't be read, and trees from git", () => {
  let project: Project;

  beforeAll(async () => {
    project = await Project.create();
  });

  afterAll(async () => {
    await project[Symbol.asyncDispose]();
  });

  const preview = () => project.run(["preview", "--stack", "test"], nobody);

  test("all that is wrong with a tree is said at once, with file and line", async () => {
    await project.edit("packages/core/sh/package.toml", (text) =>
      text.replace(/hash = ".*"/, 'hash = "abc"'),
    );
    await project.edit("packages/user/hello/Containerfile", (text) =>
      text.replace("stagex/core-filesystem", "stagex/core-filesytem"),
    );
    await project.edit("packages/user/tree/package.toml", (text) => `${text}[sources.tree\n`);
    const [previewed, started] = [await preview(), await project.stagexStart()];
    for (const { output } of [previewed, started]) {
      expect(output).toContain("packages/core/sh/package.toml:10: sources.sh.hash");
      expect(output).toMatch(
        /packages\/user\/hello\/Containerfile:\d+: found stagex\/core-filesytem.* core-filesystem/,
      );
      expect(output).toMatch(/packages\/user\/tree\/package.toml:\d+: .*TOML/);
      expect(output).not.toContain("    at ");
    }
    expect(previewed.code).not.toBe(0);
    expect(started.code).toBe(2);
    expect(started.output.match(/core-filesytem/g)).toHaveLength(1);
    await project.git("checkout", "--quiet", ".");
  });

  test("a wrong setting ends stagex start before the engine starts, and is no fault of ours", async () => {
    await project.set("verify", "perhaps");
    const { code, output } = await project.stagexStart();
    expect(output).toMatch(/^stagex: the configuration cannot be used:\n.*stagex:verify: found "perhaps"/m);
    expect(output).not.toContain("internal error");
    expect(code).toBe(2);
    await project.set("verify", "true");
  });

  test("a tree from git, by commit and by tag; then with its repository gone", async () => {
    const args = ["-C", project.tree, "rev-parse", "HEAD"];
    const commit = execFileSync("git", args, { encoding: "utf8" }).trim();
    const url = pathToFileURL(project.tree).href;
    await project.git("tag", "2026.11.0");
    const created = { code: 0, output: expect.stringContaining("+ 20 to create") };
    for (const revision of [commit, "2026.11.0"]) {
      await project.set("tree", `${url}#${revision}`);
      expect(await preview()).toMatchObject(created);
    }
    await rename(project.tree, `${project.tree}.away`);
    expect(await preview()).toMatchObject(created);
    await rename(`${project.tree}.away`, project.tree);
    const refusals = {
      main: /no tag "main" \(branches are not/,
      [commit.slice(0, 9)]: /give all 40 hex digits/,
    };
    for (const [revision, reason] of Object.entries(refusals)) {
      await project.set("tree", `${url}#${revision}`);
      expect((await preview()).output).toMatch(reason);
      expect(await project.stagexStart()).toMatchObject({ code: 2, output: expect.stringMatching(reason) });
    }
  });
});
