import { expect, test } from "vitest";
import { firstPublishedDigest } from "../../../../distro/published/published-digests.ts";
import { readTree, type Tree } from "../../../../distro/tree/tree.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import { expectedDigestsOf } from "../../../../pipeline/package/expected-digests.ts";
import { packageFiles, writtenFolder } from "../../../support/builders/written-tree.ts";

const line = (name: string, content: string) => `${hexOf(digestOf(content))} ${name}\n`;
const files = {
  ...packageFiles("bootstrap/seed", { toml: 'version = "1"\nplatforms = ["linux/386"]\n' }),
  ...packageFiles("core/tool"),
  "digests/bootstrap.txt": line("bootstrap-seed", "386"),
  "digests/core.txt": line("core-tool", "amd64"),
};
const further = {
  "digests/linux-arm64/core.txt": line("core-tool", "arm64"),
  "digests/index/core.txt": line("core-tool", "index"),
};

function expectedIn(tree: Tree): Record<string, unknown> {
  return Object.fromEntries(
    [...tree.images].map(([name, plan]) => [name, expectedDigestsOf(tree, plan)] as const),
  );
}

test("expects StageX's own lines of images for linux/amd64 and for platforms of their own", async () => {
  expect(expectedIn(await readTree(writtenFolder({ ...files, ...further })))).toEqual({
    "bootstrap-seed": { expectedDigest: digestOf("386") },
    "core-tool": { expectedDigest: digestOf("amd64") },
  });
});

test("expects no line of linux/amd64 where the tree is read for linux/arm64 alone", async () => {
  const tree = await readTree(writtenFolder(files), { platforms: ["linux/arm64"] });
  expect(expectedIn(tree)).toEqual({
    "bootstrap-seed": { expectedDigest: digestOf("386") },
    "core-tool": {},
  });
  expect(firstPublishedDigest(tree, "core-tool")).toBeUndefined();
});

test("expects the lines of linux/arm64, and no index, where the tree is read for it first", async () => {
  const root = writtenFolder({ ...files, ...further });
  for (const platforms of [["linux/arm64"], ["linux/arm64", "linux/amd64"]]) {
    const tree = await readTree(root, { platforms });
    expect(expectedIn(tree)).toMatchObject({
      "core-tool": { expectedDigests: { "linux/arm64": digestOf("arm64") } },
    });
    expect(expectedIn(tree)).not.toHaveProperty(["core-tool", "expectedIndex"]);
    expect(firstPublishedDigest(tree, "core-tool")).toBe(digestOf("arm64"));
  }
});

test("expects each platform's line and the index's where the tree is read for both", async () => {
  const tree = await readTree(writtenFolder({ ...files, ...further }), {
    platforms: ["linux/amd64", "linux/arm64"],
  });
  expect(expectedIn(tree)).toMatchObject({
    "core-tool": {
      expectedDigest: digestOf("amd64"),
      expectedDigests: { "linux/arm64": digestOf("arm64") },
      expectedIndex: digestOf("index"),
    },
  });
});
