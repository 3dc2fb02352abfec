import { expect, test } from "vitest";
import { detectGenerator, findGenerator } from "../../../../distro/generator/known-generators.ts";
import { targetsPy } from "../../../../distro/generator/targets-py.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { packageFiles, trackedTree } from "../../../support/builders/written-tree.ts";

test("detects the generation by the tree's files, and does not name the first in plans", async () => {
  const tree = trackedTree(packageFiles("core/tool"));
  const { images } = await readTree(tree);
  expect(images.get("core-tool")).not.toHaveProperty("generator");
  expect(detectGenerator([{ path: "packages/core/tool/package.toml", mode: "100644" }])).toBe(targetsPy);
  expect(detectGenerator([{ path: "packages/tool/Containerfile", mode: "100644" }])).toBeUndefined();
});

test("rejects a tree from before package.toml as too old", async () => {
  const tree = trackedTree({ "packages/tool/Containerfile": "FROM scratch\n" });
  await expect(readTree(tree)).rejects.toThrow("as StageX had them until 2024");
});

test("rejects the name of an unknown generation", () => {
  expect(findGenerator(undefined)).toBe(targetsPy);
  expect(() => findGenerator("distro/2")).toThrow('no generator "distro/2" is known here');
});
