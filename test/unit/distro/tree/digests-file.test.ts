import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  digestSetOfPath,
  digestSetOfPlatform,
  digestsOfOtherPlatforms,
  formatDigestsFile,
  formatDigestsFiles,
  furtherDigestsOf,
  parseDigestsFile,
} from "../../../../distro/tree/digests-file.ts";
import { TreeError } from "../../../../distro/tree-error.ts";

const hex = (digit: string) => digit.repeat(64);

describe("digests files", () => {
  test("map each image to its digest", () => {
    const text = `${hex("a")} core-acl\n${hex("b")} core-py.yaml\n`;
    expect(parseDigestsFile("digests/core.txt", text)).toEqual(
      new Map([
        ["core-acl", hex("a")],
        ["core-py.yaml", hex("b")],
      ]),
    );
    expect(parseDigestsFile("digests/core.txt", "").size).toBe(0);
  });

  test.each([
    ["a short digest", `${hex("a")} core-a\nabc core-b\n`, 2],
    ["capitals", `${hex("A")} core-a\n`, 1],
    ["another stage", `${hex("a")} user-a\n`, 1],
    ["two spaces", `${hex("a")}  core-a\n`, 1],
    ["an image twice", `${hex("a")} core-a\n${hex("b")} core-a\n`, 2],
    ["an empty line", `${hex("a")} core-a\n\n${hex("b")} core-b\n`, 2],
  ])("with %s are rejected with the line", (_, text, line) => {
    let caught: unknown;
    try {
      parseDigestsFile("digests/core.txt", text);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(TreeError);
    expect((caught as TreeError).problems).toMatchObject([{ file: "digests/core.txt", line }]);
  });

  test("are written sorted, and parse to the same digests, whatever the order", () => {
    const name = fc.stringMatching(/^core-[a-z][a-z0-9.-]{0,8}$/);
    const digests = fc.dictionary(name, fc.stringMatching(/^[0-9a-f]{64}$/));
    fc.assert(
      fc.property(digests, (record) => {
        const entries = Object.entries(record);
        const text = formatDigestsFile(new Map(entries));
        expect(formatDigestsFile(new Map(entries.reverse()))).toBe(text);
        const lines = text.split("\n").map((line) => line.slice(65));
        expect(lines.slice(0, -1)).toEqual(Object.keys(record).sort());
        expect(parseDigestsFile("digests/core.txt", text)).toEqual(new Map(entries));
      }),
    );
  });

  test("are one for each stage", () => {
    const digests = new Map([
      ["user-b", hex("1")],
      ["core-x-y", hex("2")],
      ["user-a", hex("3")],
    ]);
    expect(formatDigestsFiles(digests)).toEqual(
      new Map([
        ["digests/user.txt", `${hex("3")} user-a\n${hex("1")} user-b\n`],
        ["digests/core.txt", `${hex("2")} core-x-y\n`],
      ]),
    );
  });
});

describe("digests of several platforms", () => {
  test.each([
    ["digests/core.txt", ""],
    ["digests/linux-arm64/core.txt", "linux-arm64"],
    ["digests/linux-arm-v7/core.txt", "linux-arm-v7"],
    ["digests/index/core.txt", "index"],
    ["digests/old/core.txt", undefined],
    ["digests/linux-arm64/x/core.txt", undefined],
    ["packages/digests/core.txt", undefined],
    ["digests/core.md", undefined],
  ])("%s has the set %j", (path, set) => {
    expect(digestSetOfPath(path)).toBe(set);
  });

  test("are those of all but the first platform, and the index's; one platform has none", () => {
    const digests = { "linux/amd64": hex("a"), "linux/arm64": hex("b"), "linux/arm/v7": hex("c") };
    expect(Object.fromEntries(furtherDigestsOf(Object.keys(digests), digests, hex("d")))).toEqual({
      "linux-arm64": hex("b"),
      "linux-arm-v7": hex("c"),
      index: hex("d"),
    });
    expect(furtherDigestsOf(["linux/amd64"], digests, hex("d")).size).toBe(0);
  });

  test("are those of all platforms without StageX's own", () => {
    const digests = { "linux/arm64": hex("b"), "linux/arm/v7": hex("c") };
    expect(Object.fromEntries(digestsOfOtherPlatforms(["linux/arm64", "linux/riscv64"], digests))).toEqual({
      "linux-arm64": hex("b"),
    });
  });

  test("have StageX's format, in a folder of their own", () => {
    const files = formatDigestsFiles(new Map([["core-a", hex("a")]]), digestSetOfPlatform("linux/arm64"));
    expect([...files]).toEqual([["digests/linux-arm64/core.txt", `${hex("a")} core-a\n`]]);
  });

  test("are in the order of the stages, whatever the order of the images", () => {
    const made = ["user-a", "core-b", "pallet-c", "core-a"].map((name) => [name, hex("a")] as const);
    expect([...formatDigestsFiles(new Map(made)).keys()]).toEqual([
      "digests/core.txt",
      "digests/pallet.txt",
      "digests/user.txt",
    ]);
  });
});
