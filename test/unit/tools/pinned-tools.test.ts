import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { goArguments, goModules } from "../../../tools/go-build.ts";
import { pinnedGo, pinnedTools, toolNames } from "../../../tools/pinned-tools.ts";
import { pinnedVersion, toolFolder } from "../../../tools/tool-folder.ts";
import { isWithin, parseVersion } from "../../../tools/version.ts";

const binaries = Object.values(pinnedTools).flatMap(({ buildMethods }) =>
  buildMethods.flatMap((method) => method.binaries),
);

test.each(toolNames)("pins %s to a version that is accepted from PATH too", async (name) => {
  const version = parseVersion(await pinnedVersion(pinnedTools[name]));
  const { accepted } = pinnedTools[name];
  expect(version && (accepted === null || isWithin(version, accepted))).toBe(true);
});

test("builds every runc with its editor of containers, and drops the filter only without libseccomp", () => {
  for (const { binaries, shortcoming } of pinnedTools.runc.buildMethods) {
    const [real, runc] = binaries;
    expect([real?.output, runc?.output]).toEqual(["runc.real", "runc"]);
    expect(runc?.module).toBe("runc-hermetic");
    expect(real?.tags.includes("seccomp")).toBe(shortcoming === null);
    expect(runc?.ldflags.includes("seccomp=dropped")).toBe(shortcoming !== null);
  }
});

test("requires the pinned Go and a checksum of each dependency in every module", () => {
  for (const { module } of binaries) {
    const text = readFileSync(join(goModules, module, "go.mod"), "utf8");
    expect(text, module).toContain(`\ngo ${pinnedGo.slice("go".length)}\n`);
    expect(existsSync(join(goModules, module, "go.sum")), module).toBe(text.includes("require"));
  }
});

test("builds independently of the folder and of this checkout's commit", () => {
  for (const binary of binaries) {
    const args = goArguments(binary, "/somewhere", "v1.2.3");
    expect(args).toEqual(expect.arrayContaining(["-trimpath", "-mod=readonly", "-buildvcs=false"]));
    expect(args.join(" ")).not.toContain("VERSION");
  }
});

test("names the folder of each build method differently, and the same method alike", async () => {
  const { runc } = pinnedTools;
  const folders = await Promise.all(runc.buildMethods.map((method) => toolFolder("/cache", runc, method)));
  expect(new Set(folders).size).toBe(runc.buildMethods.length);
  expect(await toolFolder("/cache", runc, runc.buildMethods[0])).toBe(folders[0]);
  expect(folders[0]).toMatch(/^\/cache\/runc-v1\.5\.2-[0-9a-f]{12}$/);
});
