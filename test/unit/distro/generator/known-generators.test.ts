import { expect, test } from "vitest";
import { detectGenerator, findGenerator } from "../../../../distro/generator/known-generators.ts";
import { targetsPy } from "../../../../distro/generator/targets-py.ts";
import { readTree } from "../../../../distro/tree/tree.ts";
import { packageFiles, trackedTree } from "../../../support/builders/written-tree.ts";

test("a tree's files tell its generation, and plans of the first never name it", async () => {
  const tree = trackedTree(packageFiles("core/tool"));
  const { images } = await readTree(tree);
  expect(images.get("core-tool")).not.toHaveProperty("generator");
  expect(detectGenerator([{ path: "packages/core/tool/package.toml", mode: "100644" }])).toBe(targetsPy);
  expect(detectGenerator([{ path: "packages/tool/Containerfile", mode: "100644" }])).toBeUndefined();
});

test("a tree from before package.toml is refused by its age", async () => {
  const tree = trackedTree({ "packages/tool/Containerfile": "FROM scratch\n" });
  await expect(readTree(tree)).rejects.toThrow("as StageX had them until 2024");
});

test("what a newer version has written is not taken for the first generation's", () => {
  expect(findGenerator(undefined)).toBe(targetsPy);
  expect(() => findGenerator("distro/2")).toThrow('no generator "distro/2" is known here');
});
