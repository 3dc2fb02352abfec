import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageFiles, someHash, trackedTree } from "../../../support/builders/written-tree.ts";

const program = join(import.meta.dirname, "../../../../cli/stagex.mjs");

function show(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, "show", ...args], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

function smallTree(): string {
  return trackedTree({
    ...packageFiles("core/seed"),
    ...packageFiles("core/tool", {
      toml: `version = "2.0"\n[sources.tool]\nhash = "${someHash}"\nmirrors = ["https://a.example/t-{version}.tgz"]\n`,
      containerfile: "FROM scratch\nCOPY --from=stagex/core-seed . /\n",
    }),
    "digests/core.txt": `${someHash} core-tool\n`,
  });
}

describe("stagex show", () => {
  test("--json prints an array of objects with just these keys", () => {
    const { status, stdout } = show("core-tool", "--json", "--tree", smallTree());
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual([
      {
        name: "core-tool",
        recipe: "packages/core/tool/Containerfile",
        target: null,
        version: "2.0",
        platforms: ["linux/amd64"],
        runs: [],
        buildArgs: {
          VERSION: "2.0",
          VERSION_UNDER: "2_0",
          VERSION_DASH: "2-0",
          VERSION_MAJOR: "2",
          VERSION_MAJOR_MINOR: "2.0",
          VERSION_STRIP_SUFFIX: "2.0",
        },
        dependencies: ["core-seed"],
        sources: [{ file: "t-2.0.tgz", sha256: someHash, mirrors: ["https://a.example/t-2.0.tgz"] }],
      },
    ]);
  });

  test("--all lists the images in dependency order, and a name prints one image's page", () => {
    const tree = smallTree();
    const all = show("--all", "--tree", tree).stdout.split("\n");
    expect(all.slice(0, 2)).toEqual([
      "core-seed  1.0, from 0 images and 0 sources",
      "core-tool  2.0, from 1 images and 1 sources",
    ]);
    const page = show("core-tool", "--tree", tree).stdout;
    expect(page).toMatch(/^core-tool 2\.0 - x\n/);
    expect(page).toContain(`t-2.0.tgz  sha256:${someHash}`);
    expect(page).toMatch(new RegExp(`published +sha256:${someHash}`));
  });

  test("--on lists the images that a builder cannot build, and why", () => {
    const tree = trackedTree({
      ...packageFiles("core/seed", { toml: 'version = "1.0"\nplatforms = ["linux/386"]\n' }),
      ...packageFiles("core/go", {
        containerfile:
          "FROM --platform=linux/386 stagex/core-seed AS build\nRUN make\nFROM scratch\nCOPY --from=build /go /\n",
      }),
      ...packageFiles("core/tool", { containerfile: "FROM stagex/core-go\nRUN make\n" }),
    });
    const forArm = ["--platforms", "linux/arm64", "--tree", tree];
    expect(show("--all", "--on", "linux/arm64", ...forArm).stdout.split("\n")).toEqual([
      "core-seed  1.0, from 0 images and 0 sources",
      "core-go    1.0, from 1 images and 0 sources; not on linux/arm64: its steps run linux/386 programs",
      "core-tool  1.0, from 1 images and 0 sources",
      "",
      "3 images of 3 packages, each after all that it is built from",
      "2 of them can be built on linux/arm64",
      "",
    ]);
    const emulating = show("core-go", "core-tool", "--json", "--on", "linux/amd64,linux/arm64", ...forArm);
    expect(JSON.parse(emulating.stdout)).toMatchObject([
      { name: "core-go", runs: ["linux/386"], on: "native" },
      { name: "core-tool", runs: ["linux/arm64"], on: "emulated" },
    ]);
    expect(show("core-go", "--on", "linux/arm64", ...forArm).stdout).toMatch(
      /steps run +programs for linux\/386\n +a builder for linux\/arm64 can't build it\n/,
    );
  });

  test.each([
    ["an unknown name", ["core-tol"], 'no image "core-tol"; the nearest is core-tool'],
    ["nothing asked", [], "which images?"],
    ["both asked", ["--all", "core-tool"], "not both"],
  ])("exits with 2 for %s", (_, args, message) => {
    const { status, stdout, stderr } = show(...args, "--tree", smallTree());
    expect(stderr).toContain(message);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });

  test("exits with 2 for an unreadable tree, with all its problems", () => {
    const tree = trackedTree({
      ...packageFiles("core/a", { toml: "version = 1\n" }),
      ...packageFiles("core/b", { containerfile: "FROM stagex/core-none\n" }),
    });
    const { status, stdout, stderr } = show("--all", "--json", "--tree", tree);
    expect(stderr).toContain("packages/core/a/package.toml:4: package.version");
    expect(stderr).toContain("packages/core/b/Containerfile:1");
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});
