import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { goArguments, goModules } from "../../../tools/go-build.ts";
import { pinnedGo, pinnedTools, toolNames } from "../../../tools/pinned-tools.ts";
import { pinnedVersion, toolFolder } from "../../../tools/tool-folder.ts";
import { isWithin, parseVersion } from "../../../tools/version.ts";

const binaries = Object.values(pinnedTools).flatMap(({ buildMethods: recipes }) =>
  recipes.flatMap((recipe) => recipe.binaries),
);

test.each(toolNames)("%s is pinned to a version that would be accepted from PATH too", async (name) => {
  const version = parseVersion(await pinnedVersion(pinnedTools[name]));
  const { accepted } = pinnedTools[name];
  expect(version && (accepted === null || isWithin(version, accepted))).toBe(true);
});

test("every runc edits the containers that it starts, and only one without libseccomp drops their filter", () => {
  for (const { binaries, shortcoming } of pinnedTools.runc.buildMethods) {
    const [real, runc] = binaries;
    expect([real?.output, runc?.output]).toEqual(["runc.real", "runc"]);
    expect(runc?.module).toBe("runc-hermetic");
    expect(real?.tags.includes("seccomp")).toBe(shortcoming === null);
    expect(runc?.ldflags.includes("seccomp=dropped")).toBe(shortcoming !== null);
  }
});

test("every module asks for the pinned Go, and has the checksum of all it needs", () => {
  for (const { module } of binaries) {
    const text = readFileSync(join(goModules, module, "go.mod"), "utf8");
    expect(text, module).toContain(`\ngo ${pinnedGo.slice("go".length)}\n`);
    expect(existsSync(join(goModules, module, "go.sum")), module).toBe(text.includes("require"));
  }
});

test("no build depends on the folder it is made in, nor on this checkout's commit", () => {
  for (const binary of binaries) {
    const args = goArguments(binary, "/somewhere", "v1.2.3");
    expect(args).toEqual(expect.arrayContaining(["-trimpath", "-mod=readonly", "-buildvcs=false"]));
    expect(args.join(" ")).not.toContain("VERSION");
  }
});

test("another way of building has another folder, the same way the same", async () => {
  const { runc } = pinnedTools;
  const folders = await Promise.all(runc.buildMethods.map((recipe) => toolFolder("/cache", runc, recipe)));
  expect(new Set(folders).size).toBe(runc.buildMethods.length);
  expect(await toolFolder("/cache", runc, runc.buildMethods[0])).toBe(folders[0]);
  expect(folders[0]).toMatch(/^\/cache\/runc-v1\.5\.2-[0-9a-f]{12}$/);
});
