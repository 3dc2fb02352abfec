import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readTree } from "../../../../distro/tree/tree.ts";
import { formatProblem, TreeError } from "../../../../distro/tree-error.ts";
import { TreeHistory } from "../../../support/builders/tree-history.ts";
import { packageFiles, someHash, trackedTree } from "../../../support/builders/written-tree.ts";

async function problemsOf(files: Record<string, string>): Promise<string[]> {
  try {
    await readTree(trackedTree(files));
  } catch (error) {
    if (error instanceof TreeError) return error.problems.map(formatProblem);
    throw error;
  }
  throw new Error("nothing is wrong with it");
}

/**
 * A small distribution: a seed, a tool from a source, a pallet with the tool's version, and an
 * application of two images.
 */
const small: Record<string, string> = {
  ...packageFiles("bootstrap/seed", {
    toml: 'version = "7"\nplatforms = ["linux/386"]\n',
    containerfile: "FROM scratch\nADD seed.hex /\n",
  }),
  "packages/bootstrap/seed/seed.hex": "00",
  ...packageFiles("core/tool", {
    toml: `version = "1.2.3"
[sources.tool]
hash = "${someHash}"
format = "tar.gz"
file = "tool-{version}.{format}"
mirrors = ["https://a.example/{file}"]
`,
    containerfile:
      "FROM --platform=linux/386 stagex/bootstrap-seed\nADD fetch/tool-$VERSION.tar.gz .\nADD *.patch .\n",
  }),
  "packages/core/tool/fix.patch": "-a\n+b\n",
  "packages/core/tool/notes.md": "no instruction reads this",
  ...packageFiles("pallet/tool", {
    toml: 'version_from = "core-tool"\n',
    containerfile: "FROM stagex/core-tool\n",
  }),
  ...packageFiles("user/app", {
    toml: 'subpackages = ["app", "app-docs"]\n',
    containerfile:
      "FROM stagex/pallet-tool AS build\nCOPY --from=stagex/core-tool . /\nFROM scratch AS package-app\nFROM scratch AS package-app-docs\n",
  }),
  "digests/core.txt": `${someHash} core-tool\n`,
};

describe("readTree", () => {
  test("returns a plan for each image, in dependency order", async () => {
    const { images, packages, digests } = await readTree(trackedTree(small), {
      platforms: ["linux/amd64", "linux/arm64"],
    });
    expect([...images.keys()]).toEqual([
      "bootstrap-seed",
      "core-tool",
      "pallet-tool",
      "user-app",
      "user-app-docs",
    ]);
    expect([...packages.values()].map(({ images: names }) => names)).toEqual([
      ["bootstrap-seed"],
      ["core-tool"],
      ["pallet-tool"],
      ["user-app", "user-app-docs"],
    ]);
    expect(digests).toEqual(new Map([["core-tool", someHash]]));
    expect(images.get("core-tool")).toEqual({
      runs: [],
      refusals: [],
      fetchers: [],
      name: "core-tool",
      stage: "core",
      origin: "tool",
      folder: "packages/core/tool",
      recipe: "packages/core/tool/Containerfile",
      containerfile: expect.stringMatching(/^[0-9a-f]{64}$/),
      target: null,
      version: "1.2.3",
      platforms: ["linux/amd64", "linux/arm64"],
      buildArgs: {
        VERSION: "1.2.3",
        VERSION_UNDER: "1_2_3",
        VERSION_DASH: "1-2-3",
        VERSION_MAJOR: "1",
        VERSION_MAJOR_MINOR: "1.2",
        VERSION_STRIP_SUFFIX: "1.2.3",
      },
      dependencies: ["bootstrap-seed"],
      sources: [
        {
          name: "tool",
          file: "tool-1.2.3.tar.gz",
          sha256: someHash,
          mirrors: ["https://a.example/tool-1.2.3.tar.gz"],
        },
      ],
      // printf -- '-a\n+b\n' | sha256sum
      context: [
        {
          path: "fix.patch",
          mode: "100644",
          sha256: "be5a392951db0e477c12609c2788330a6963b56fc291090a62cd81e83c5ed78c",
        },
      ],
    });
    expect(images.get("bootstrap-seed")?.platforms).toEqual(["linux/386"]);
    expect(images.get("pallet-tool")).toMatchObject({ version: "1.2.3", buildArgs: { VERSION: "1.2.3" } });
    expect(images.get("user-app-docs")).toMatchObject({
      origin: "app",
      target: "package-app-docs",
      version: "latest",
      buildArgs: {},
      dependencies: ["core-tool", "pallet-tool"],
    });
  });

  test("ignores a Containerfile without package.toml, as StageX does", async () => {
    const tree = await readTree(
      trackedTree({ ...small, "packages/user/gone/Containerfile": "FROM nowhere\n" }),
    );
    expect(tree.images.size).toBe(5);
  });

  test("returns equal plans after a change of a comment or a description", async () => {
    const toml = small["packages/core/tool/package.toml"] ?? "";
    const changed = `# a comment\n${toml.replace('"x"', '"another description"')}`;
    const plans = async (text: string) => {
      const { images } = await readTree(trackedTree({ ...small, "packages/core/tool/package.toml": text }));
      return [...images.values()];
    };
    expect(changed).not.toBe(toml);
    expect(await plans(changed)).toEqual(await plans(toml));
  });
});

describe("problems", () => {
  test("are reported all at once, by file and line", async () => {
    const problems = await problemsOf({
      ...packageFiles("core/a", {
        toml: 'version = "1"\n',
        containerfile: "FROM scratch\nCOPY --from=stagex/core-bussybox . /\n",
      }),
      ...packageFiles("core/b", { toml: "version = 1\n" }),
      ...packageFiles("core/busybox", { containerfile: "FROM scratch\nCOPY new.patch ../x /\n" }),
      "digests/core.txt": "abc core-a\n",
    });
    expect(problems).toEqual([
      'digests/core.txt:1: found "abc core-a", allowed: 64 lower-case hex digits, a space, and core-<name>',
      "packages/core/a/Containerfile:2: found stagex/core-bussybox, allowed: an image of the tree; the nearest is core-busybox",
      "packages/core/b/package.toml:4: package.version: found 1 (a number), allowed: a version in quotes, up to 128 of A-Z a-z 0-9 . _ - (it becomes a tag)",
      'packages/core/busybox/Containerfile:2: COPY: found "new.patch", allowed: a file that git tracks (fix: git add packages/core/busybox/new.patch)',
      'packages/core/busybox/Containerfile:2: COPY: found "../x", allowed: paths within packages/core/busybox',
    ]);
  });

  test("accept folders of unknown stages as data, or as images with a Containerfile", async () => {
    const read = await readTree(
      trackedTree({
        ...packageFiles("box/desk", { containerfile: "FROM stagex/core-tool\n" }),
        ...packageFiles("core/tool"),
        "packages/service/web/package.toml": '[service]\nunit = "web"\n',
        "packages/distro/one/package.toml": "[distro]\n",
        "packages/distro/one/Containerfile": "FROM scratch\n",
      }),
    );
    expect([...read.images.keys()]).toEqual(["core-tool", "box-desk"]);
    expect(read.warnings.map(formatProblem)).toEqual([
      "packages/distro/one/package.toml: package: found nothing, allowed: a [package] table",
    ]);
    const needed = trackedTree({
      ...packageFiles("core/tool", { containerfile: "FROM stagex/distro-one\n" }),
      "packages/distro/one/package.toml": "[distro]\n",
      "packages/distro/one/Containerfile": "FROM scratch\n",
    });
    await expect(readTree(needed)).rejects.toThrow("found stagex/distro-one, allowed: an image of the tree");
  });

  test("report a merge conflict once, whichever file has it", async () => {
    for (const file of ["Containerfile", "package.toml"]) {
      const history = new TreeHistory();
      const path = `packages/core/tool/${file}`;
      const files = packageFiles("core/tool");
      history.commit({
        ...files,
        ...packageFiles("core/user", { containerfile: "FROM stagex/core-tool\n" }),
      });
      history.git("branch", "other");
      history.commit({ [path]: `${files[path]}# ours\n` });
      history.git("checkout", "--quiet", "other");
      history.commit({ [path]: `${files[path]}# theirs\n` });
      expect(() =>
        history.git("-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "main"),
      ).toThrow();
      const error: unknown = await readTree(history.root).catch((problem: unknown) => problem);
      expect((error as TreeError).problems.map(formatProblem)).toEqual([
        `${path}: found an unresolved merge conflict, allowed: resolved files (fix: git add ${path})`,
      ]);
    }
  });

  test.each([
    [
      "a cycle",
      {
        ...packageFiles("core/a", { containerfile: "FROM stagex/core-b\n" }),
        ...packageFiles("core/b", { containerfile: "FROM stagex/core-c\n" }),
        ...packageFiles("core/c", { containerfile: "FROM stagex/core-a\n" }),
      },
      "packages/core/a/Containerfile: found the cycle core-a -> core-b -> core-c -> core-a, allowed: images that are not built from themselves",
    ],
    [
      "a package that is built from its own subpackage",
      packageFiles("core/a", {
        toml: 'subpackages = ["s"]\n',
        containerfile: "FROM stagex/core-s AS package-s\n",
      }),
      "packages/core/a/Containerfile: found the cycle core-s -> core-s, allowed: images that are not built from themselves",
    ],
    [
      "another name than the folder's",
      {
        ...packageFiles("core/a"),
        "packages/core/a/package.toml": '[package]\nname = "b"\ndescription = ""\n',
      },
      'packages/core/a/package.toml: package.name: found "b", allowed: "a", the folder\'s name',
    ],
    [
      "an image made twice",
      {
        ...packageFiles("core/a"),
        ...packageFiles("core/b", {
          toml: 'subpackages = ["a"]\n',
          containerfile: "FROM scratch AS package-a\n",
        }),
      },
      "packages/core/b/package.toml: found the image core-a, which packages/core/a makes too, allowed: each image once",
    ],
    [
      "a subpackage without its stage",
      packageFiles("core/a", { toml: 'subpackages = ["s"]\n' }),
      "packages/core/a/Containerfile: found no stage package-s, allowed: a stage package-<name> for each subpackage",
    ],
    [
      "no Containerfile",
      { "packages/core/a/package.toml": '[package]\nname = "a"\ndescription = ""\n' },
      "packages/core/a: found no Containerfile, allowed: a Containerfile that git tracks",
    ],
    [
      "a version from nowhere",
      packageFiles("core/a", {
        toml: 'subpackages = ["s", "t"]\nversion_from = "core-b"\n',
        containerfile: "FROM scratch AS package-s\nFROM scratch AS package-t\n",
      }),
      'packages/core/a/package.toml: package.version_from: found "core-b", allowed: an image of the tree; the nearest is core-s',
    ],
    [
      "a stage with a dash",
      packageFiles("my-stage/a"),
      'packages/my-stage/a: found "my-stage", allowed: a stage of lower-case letters and digits',
    ],
  ])("%s", async (_, files, expected) => {
    expect(await problemsOf(files)).toEqual([expected]);
  });

  test("call no image unknown that an unreadable package.toml may make", async () => {
    const problems = await problemsOf({
      ...packageFiles("core/a", { toml: 'version = 1\nsubpackages = ["s"]\n' }),
      ...packageFiles("core/b", { containerfile: "FROM stagex/core-s\n" }),
    });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("packages/core/a/package.toml:4");
  });

  test("reject text that is not UTF-8", async () => {
    const root = trackedTree(packageFiles("core/a"));
    writeFileSync(join(root, "packages/core/a/package.toml"), Buffer.from([0x23, 0xff, 0x0a]));
    await expect(readTree(root)).rejects.toThrow("package.toml: found bytes that are not UTF-8");
  });

  test("reject a folder that is not a tree", async () => {
    await expect(readTree(trackedTree({ "README.md": "" }))).rejects.toThrow("found no package");
  });
});
