// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Containerfiles

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Containerfile } from "../../../../distro/recipe/containerfile.ts";
import { parseContainerfile } from "../../../../distro/recipe/containerfile-parser.ts";
import { checkContextReads, selectContextFiles } from "../../../../distro/recipe/context-files.ts";
import type { TreeFile } from "../../../../distro/tree-source.ts";

const recipe = "packages/core/tool/Containerfile";
const names = [
  ".dockerignore",
  "Containerfile",
  "a.patch",
  "b.config",
  "fetch/left.tgz",
  "package.toml",
  "patches/c.patch",
  "patches/deep/d.patch",
  "x[1].txt",
];

function files(paths: readonly string[]): TreeFile[] {
  return paths.map((path) => ({ path, mode: "100644" }));
}

function contextFiles(
  tracked: readonly TreeFile[],
  recipe: Containerfile,
  target: string | null,
): TreeFile[] {
  return selectContextFiles(tracked, recipe)(target);
}

function containerfile(instruction: string) {
  return parseContainerfile(recipe, `FROM scratch\nARG X\n${instruction}\n`);
}

function seen(instruction: string, paths: readonly string[] = names): string[] {
  return contextFiles(files(paths), containerfile(instruction), null).map(({ path }) => path);
}

const all = names.filter((path) => !path.startsWith("fetch/"));

describe("contextFiles", () => {
  test.each([
    ["RUN true", []],
    ["COPY a.patch /", ["a.patch"]],
    ["COPY ./a.patch /", ["a.patch"]],
    ["COPY /a.patch /", ["a.patch"]],
    ["COPY patches/../a.patch /", ["a.patch"]],
    ["ADD *.patch .", ["a.patch"]],
    ["ADD */*.patch .", ["patches/c.patch"]],
    ["ADD ?.config .", ["b.config"]],
    ["ADD patches .", ["patches/c.patch", "patches/deep/d.patch"]],
    ["ADD patches/ .", ["patches/c.patch", "patches/deep/d.patch"]],
    ["ADD patches/* .", ["patches/c.patch", "patches/deep/d.patch"]],
    ["ADD p* .", ["package.toml", "patches/c.patch", "patches/deep/d.patch"]],
    ["ADD patches/[a-z].patch .", ["patches/c.patch", "patches/deep/d.patch"]],
    ["COPY --parents patches/**/d.patch /", ["patches/c.patch", "patches/deep/d.patch"]],
    ["ADD fetch/${X}.tgz .", []],
    ["ADD a.patch b.config /", ["a.patch", "b.config"]],
    ["RUN --mount=source=patches/deep,target=/p true", ["patches/deep/d.patch"]],
    ["RUN --mount=source=*.patch,target=/p true", []],
    ["RUN --mount=type=BIND,source=a.patch,target=/p true", ["a.patch"]],
    ["RUN --mount=type=$X,source=a.patch,target=/p true", ["a.patch"]],
    ["RUN --mount=type=Cache,target=/p true", []],
  ])("%s", (instruction, expected) => {
    expect(seen(instruction)).toEqual([".dockerignore", ...expected]);
  });

  test.each([
    "COPY . /",
    "COPY / /",
    "COPY * /",
    "COPY ${X} /",
    "COPY ${X}/a.patch /",
    "COPY patches/$X/../../a.patch /",
    // X may be ../a.patch.
    "COPY patches/$X /",
    "RUN --mount=source=patches/$X,target=/p true",
    "COPY patches/\\../a.patch /",
    "COPY patches/'../a.patch' /",
    'COPY "a.patch" /',
    "COPY a\\.patch /",
    "COPY x[[]1].txt /",
    "COPY **/*.patch /",
    "RUN --mount=target=/all true",
  ])("selects all files for %s", (instruction) => {
    expect(seen(instruction)).toEqual(all);
  });

  test("takes a no-break space for a part of a name", () => {
    expect(seen("COPY a\u00a0b /", ["a", "a\u00a0b", "b"])).toEqual(["a\u00a0b"]);
  });

  test("takes no escape character for a part of a name", () => {
    const escaped = parseContainerfile(recipe, "# escape=`\nFROM scratch\nCOPY a`.patch /\n");
    expect(contextFiles(files(["a.patch"]), escaped, null)).toHaveLength(1);
  });

  test("selects all files where a symbolic link may stand for any", () => {
    const link: TreeFile = { path: "link", mode: "120000" };
    const paths = contextFiles([...files(["a", "b"]), link], containerfile("COPY link/x /"), null).map(
      ({ path }) => path,
    );
    expect(paths).toEqual(["a", "b", "link"]);
    expect(contextFiles([...files(["a"]), link], containerfile("RUN true"), null)).toEqual([]);
  });

  test("selects a plainly named file, whatever else is read", () => {
    const name = fc.stringMatching(/^[a-z.]{1,6}$/).filter((part) => part !== "." && part !== "..");
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 8 }), fc.nat(7), (paths, index) => {
        const own = paths.filter((each) => !each.startsWith("fetch"));
        const chosen = own[index % own.length];
        fc.pre(chosen !== undefined);
        const folder = chosen.slice(0, chosen.lastIndexOf("/") + 1);
        for (const source of [chosen, `${folder}*`, `${folder}./`, `${folder}?*`, `./${chosen}`]) {
          expect(seen(`COPY ${source} /`, own)).toContain(chosen);
        }
      }),
    );
  });
});

describe("contextFiles of a target", () => {
  const lines = (...instructions: string[]) => parseContainerfile(recipe, `${instructions.join("\n")}\n`);
  const seenBy = (target: string | null, ...instructions: string[]) =>
    contextFiles(files(["a", "b", "c", ".dockerignore"]), lines(...instructions), target).map(
      ({ path }) => path,
    );
  const two = [
    "FROM scratch AS base",
    "COPY a /",
    "FROM base AS build-one",
    "COPY b /",
    "FROM base AS build-two",
    "COPY c /",
    "FROM scratch AS package-one",
    "COPY --from=build-one / /",
    "FROM scratch AS package-two",
    "COPY --from=build-two / /",
  ];

  test("are those that its stages read, with the stages that it starts from and copies from", () => {
    expect(seenBy("package-one", ...two)).toEqual(["a", "b", ".dockerignore"]);
    expect(seenBy("package-two", ...two)).toEqual(["a", "c", ".dockerignore"]);
    expect(seenBy("base", ...two)).toEqual(["a", ".dockerignore"]);
  });

  test("are those of the last stage without a target", () => {
    expect(seenBy(null, ...two)).toEqual(["a", "c", ".dockerignore"]);
  });

  test.each([
    ["a mount", ["FROM scratch AS x", "COPY a /", "FROM scratch", "RUN --mount=from=x,target=/x true"]],
    ["a stage's number", ["FROM scratch", "COPY a /", "FROM scratch", "COPY --from=0 / /"]],
    ["a later stage", ["FROM scratch AS t", "COPY --from=x / /", "FROM scratch AS x", "COPY a /"]],
    ["another case", ["FROM scratch AS Ab", "COPY a /", "FROM aB", "RUN true"]],
    [
      "a stage that only the build can tell",
      ["FROM scratch AS p-amd64", "COPY a /", "FROM p-${TARGETARCH}", "RUN true"],
    ],
    [
      "a stage that only the build can tell, whatever else is written",
      ["FROM scratch AS p-arm64", "COPY a /", "FROM scratch AS p-amd64", "FROM p-${TARGETARCH:-amd64}"],
    ],
    [
      "an ARG that only the build can tell",
      [
        "ARG A=$TARGETARCH",
        "FROM scratch AS p-arm64",
        "COPY a /",
        "FROM scratch AS p-amd64",
        "FROM p-${A:-amd64}",
      ],
    ],
    ["a global ARG", ["ARG S=x", "FROM scratch AS x", "COPY a /", "FROM ${S}", "RUN true"]],
    [
      "both stages of one name",
      ["FROM scratch AS x", "COPY a /", "FROM scratch AS x", "RUN true", "FROM scratch", "COPY --from=x / /"],
    ],
    [
      "a stage that is named as the sources are",
      ["FROM scratch AS fetch", "COPY a /", "FROM scratch", "COPY --from=fetch / /"],
    ],
    [
      "a stage on the way",
      ["FROM scratch AS x", "COPY a /", "FROM x AS y", "FROM scratch AS z", "COPY --from=y / /", "FROM z"],
    ],
  ])("include the files that %s reads", (_, instructions) => {
    const target = instructions[0] === "FROM scratch AS t" ? "t" : null;
    expect(seenBy(target, ...instructions)).toEqual(["a", ".dockerignore"]);
  });

  test("include a link's folder only where the target reads anything", () => {
    const link: TreeFile = { path: "link", mode: "120000" };
    const read = (target: string) =>
      contextFiles([...files(["a", "b", "c"]), link], lines(...two, "FROM scratch AS package-none"), target);
    expect(read("package-one")).toHaveLength(4);
    expect(read("package-none")).toEqual([]);
  });
});

describe("contextProblems", () => {
  function problems(instruction: string) {
    return checkContextReads(recipe, files(names), containerfile(instruction));
  }

  test.each(["COPY ../core/x /", "COPY a/../../x /", "RUN --mount=source=../x,target=/x true"])(
    "rejects %s, which leaves the folder",
    (instruction) => {
      expect(problems(instruction)).toMatchObject([
        { file: recipe, line: 3, allowed: "paths within packages/core/tool" },
      ]);
    },
  );

  test("quotes the path in the fix for the shell", () => {
    const [problem] = problems('COPY ["x; touch p #", "/"]');
    expect(problem?.fix).toBe("git add 'packages/core/tool/x; touch p #'");
  });

  test("rejects a plain path that git does not track", () => {
    expect(problems("COPY new.patch /")).toEqual([
      {
        file: recipe,
        line: 3,
        field: "COPY",
        found: '"new.patch"',
        allowed: "a file that git tracks",
        fix: "git add packages/core/tool/new.patch",
      },
    ]);
  });

  test.each([
    "COPY a.patch /",
    "COPY patches /",
    "COPY fetch/any /",
    "COPY ${X} /",
    "COPY *.none /",
    "COPY . /",
  ])("accepts %s", (instruction) => {
    expect(problems(instruction)).toEqual([]);
  });
});
