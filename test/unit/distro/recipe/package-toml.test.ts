import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildArgsOf } from "../../../../distro/recipe/package-sources.ts";
import { parsePackageToml } from "../../../../distro/recipe/package-toml-parser.ts";
import { formatProblem, TreeError, type TreeProblem } from "../../../../distro/tree-error.ts";
import { someHash } from "../../../support/builders/written-tree.ts";

const file = "packages/core/tool/package.toml";
const head = `[package]\nname = "tool"\ndescription = "A tool"\n`;

function source(name: string, lines: string): string {
  return `[sources.${name}]\nhash = "${someHash}"\n${lines}\n`;
}

function parse(text: string) {
  return parsePackageToml(file, text);
}

function problemsOf(text: string): readonly TreeProblem[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof TreeError) return error.problems;
    throw error;
  }
  throw new Error("nothing is wrong with it");
}

describe("parsePackageToml", () => {
  test("reads every field", () => {
    const toml = parse(`${head}version = "2.1"
license = "MIT"
website = "https://tool.example"
subpackages = ["tool-a", "tool_b"]
platforms = ["linux/386"]
${source("tool", 'format = "tar.xz"\nfile = "tool-{version}.{format}"\nmirrors = ["https://a.example/{file}"]')}
${source("Part", `version = "7"\ngit_sha = "${"ab".repeat(20)}"\nmirrors = ["https://b.example/p-{version}.zip"]`)}`);
    expect(toml).toEqual({
      name: "tool",
      version: "2.1",
      versionFrom: null,
      description: "A tool",
      license: "MIT",
      website: "https://tool.example",
      subpackages: ["tool-a", "tool_b"],
      platforms: ["linux/386"],
      sources: [
        {
          name: "tool",
          hash: someHash,
          version: null,
          gitSha: null,
          format: "tar.xz",
          file: "tool-{version}.{format}",
          mirrors: ["https://a.example/{file}"],
        },
        {
          name: "Part",
          hash: someHash,
          version: "7",
          gitSha: "ab".repeat(20),
          format: "",
          file: null,
          mirrors: ["https://b.example/p-{version}.zip"],
        },
      ],
      resolvedSources: [
        {
          name: "tool",
          file: "tool-2.1.tar.xz",
          sha256: someHash,
          mirrors: ["https://a.example/tool-2.1.tar.xz"],
        },
        { name: "Part", file: "p-7.zip", sha256: someHash, mirrors: ["https://b.example/p-7.zip"] },
      ],
    });
  });

  test("accepts a mirror that only others can reach", () => {
    const text = `${head}${source("x", 'mirrors = ["file:///srv/x.tar", "https://a.example/x.tar"]')}`;
    expect(parse(text).sources[0]?.mirrors).toEqual(["file:///srv/x.tar", "https://a.example/x.tar"]);
  });

  test("rejects a misspelled field, and accepts other unknown ones", () => {
    expect(problemsOf(`${head}verison = "1"\n`)).toMatchObject([
      { file, line: 4, field: "package.verison", found: '"verison"' },
    ]);
    expect(parse(`${head}maintained_by = "us"\n`).name).toBe("tool");
  });

  const web = 'mirrors = ["https://a.example/x-{version}.tgz"]';
  test.each([
    ["no [package]", "x = 1\n", "package", undefined],
    ["a number as version", `${head}version = 1.5\n`, "package.version", 4],
    ["a version that is no tag", `${head}version = "1 5"\n`, "package.version", 4],
    ["an unsafe name", head.replace("tool", "../tool"), "package.name", 2],
    ["a name in capitals", head.replace('"tool"', '"Tool"'), "package.name", 2],
    [
      "a version beside version_from",
      `${head}version = "1"\nversion_from = "core-x"\n`,
      "package.version_from",
      5,
    ],
    ["a text as subpackages", `${head}subpackages = "a"\n`, "package.subpackages", 4],
    ["a subpackage twice", `${head}subpackages = ["a", "a"]\n`, "package.subpackages", 4],
    ["an unsafe subpackage", `${head}subpackages = [\n"ok",\n"../a"]\n`, "package.subpackages.1", 6],
    ["a platform of no kind", `${head}platforms = ["amd64"]\n`, "package.platforms.0", 4],
    ["a short hash", `${head}[sources.x]\nhash = "abc"\n${web}\n`, "sources.x.hash", 5],
    [
      "a hash in capitals",
      `${head}[sources.x]\nhash = "${someHash.toUpperCase()}"\n${web}\n`,
      "sources.x.hash",
      5,
    ],
    ["no hash", `${head}[sources.x]\n${web}\n`, "sources.x.hash", 4],
    ["mirrors as a text", `${head}${source("x", 'mirrors = "https://a.example/x"')}`, "sources.x.mirrors", 6],
    ["no mirror", `${head}${source("x", "mirrors = []")}`, "sources.x.mirrors", 6],
    [
      "a mirror that is no URL",
      `${head}${source("x", 'mirrors = ["a.example/x"]')}`,
      "sources.x.mirrors.0",
      6,
    ],
    ["a version placeholder without version", `${head}${source("x", web)}`, "sources.x.mirrors.0", 6],
    [
      "an unknown placeholder",
      `${head}${source("x", 'file = "x-{name}"\nmirrors = ["https://a.example/x"]')}`,
      "sources.x.file",
      6,
    ],
    [
      "{file} in a file",
      `${head}${source("x", 'file = "{file}"\nmirrors = ["https://a.example/x"]')}`,
      "sources.x.file",
      6,
    ],
    [
      "a slash in a file",
      `${head}${source("x", 'file = "a/b"\nmirrors = ["https://a.example/x"]')}`,
      "sources.x.file",
      6,
    ],
    [
      "a file ..",
      `${head}${source("x", 'file = ".."\nmirrors = ["https://a.example/x"]')}`,
      "sources.x.file",
      6,
    ],
    [
      "a file from a bare address",
      `${head}${source("x", 'mirrors = ["https://a.example/"]')}`,
      "sources.x.mirrors.0",
      6,
    ],
    [
      "mirrors that end differently",
      `${head}${source("x", 'mirrors = [\n"https://a.example/x",\n"https://b.example/y"]')}`,
      "sources.x.mirrors.1",
      8,
    ],
    [
      "a source's name that is no argument",
      `${head}${source('"a b"', 'mirrors = ["https://a.example/x"]')}`,
      "sources.a b",
      4,
    ],
    [
      "__proto__ as a source",
      `${head}${source("__proto__", 'mirrors = ["https://a.example/x"]')}`,
      "sources.__proto__",
      4,
    ],
    ["broken TOML", `${head}version = \n`, undefined, 4],
    ["a field twice", `${head}name = "tool"\n`, undefined, 4],
  ])("rejects %s", (_, text, field, line) => {
    const [problem] = problemsOf(text);
    expect(problem?.file).toBe(file);
    expect(problem?.field).toBe(field);
    expect(problem?.line).toBe(line);
  });

  test("rejects a file name used twice, and names that differ in case alone", () => {
    const mirrors = 'mirrors = ["https://a.example/x"]';
    expect(problemsOf(head + source("x", mirrors) + source("X", mirrors)).map(({ found }) => found)).toEqual([
      "X beside x",
      'the file "x", which sources.x has too',
    ]);
  });

  test("reports all problems of a file at once", () => {
    const text = `[package]\nname = 1\n${source("x", 'mirrors = [1]\nformt = "zip"')}`;
    expect(problemsOf(text).map(({ field }) => field)).toEqual([
      "sources.x.formt",
      "package.name",
      "sources.x.mirrors.0",
    ]);
  });

  test("warns of mistakes in fields that builds do not read", () => {
    const warnings: TreeProblem[] = [];
    const text = '[package]\nname = "tool"\nlicence = "MIT"\nwebsite = ["x"]\nsize = 9223372036854775807\n';
    expect(parsePackageToml("x", text, warnings)).toMatchObject({
      description: "",
      license: null,
      website: null,
    });
    expect(warnings.map(formatProblem)).toEqual([
      "x:1: package.description: found nothing, allowed: a string in quotes",
      'x:4: package.website: found ["x"], allowed: a string in quotes',
      'x:3: package.licence: found "licence", allowed: license (is it meant?)',
    ]);
    expect(
      problemsOf('[package]\nname = "tool"\nplatform = ["linux/386"]\n').map(({ field }) => field),
    ).toEqual(["package.platform"]);
  });

  test("parses any text, or throws a TreeError", () => {
    const word = fc.constantFrom(
      "[package]",
      "name",
      "=",
      '"a"',
      "\n",
      "[sources.x]",
      "{version}",
      "hash",
      "[",
      "1",
      "'",
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 30 }).map((words) => words.join(" ")),
    );
    fc.assert(
      fc.property(text, (tail) => {
        try {
          parse(head + tail);
        } catch (error) {
          expect(error).toBeInstanceOf(TreeError);
        }
      }),
    );
  });
});

describe("fetched sources", () => {
  test("expand with the source's version, else the package's", () => {
    const toml = parse(`${head}version = "3.4"
${source("own", 'version = "1.2"\nfile = "own-{version}.zip"\nmirrors = ["https://a.example/{version_under}/{file}"]')}
${source("same", 'file = "same-{version_dash}.zip"\nmirrors = ["http://a.example/{version_major_minor}/x?f={file}"]')}
${source("bare", 'mirrors = ["https://a.example/p/bare-{version}.tgz?a=b#c", "https://b.example/bare-{version}.tgz"]')}`);
    expect(toml.resolvedSources.map(({ file: name, mirrors }) => [name, ...mirrors])).toEqual([
      ["own-1.2.zip", "https://a.example/1_2/own-1.2.zip"],
      ["same-3-4.zip", "http://a.example/3.4/x?f=same-3-4.zip"],
      ["bare-3.4.tgz", "https://a.example/p/bare-3.4.tgz?a=b#c", "https://b.example/bare-3.4.tgz"],
    ]);
  });
});

describe("buildArgsOf", () => {
  const mirrors = 'mirrors = ["https://a.example/{file}"]';

  test("includes the forms of the version", () => {
    expect(buildArgsOf(parse(`${head}version = "1.2.3-rc1"\n`), "1.2.3-rc1")).toEqual({
      VERSION: "1.2.3-rc1",
      VERSION_UNDER: "1_2_3-rc1",
      VERSION_DASH: "1-2-3-rc1",
      VERSION_MAJOR: "1",
      VERSION_MAJOR_MINOR: "1.2",
      VERSION_STRIP_SUFFIX: "1.2.3",
    });
  });

  test("is empty without a version", () => {
    expect(buildArgsOf(parse(head), null)).toEqual({});
  });

  test("includes a source's arguments only with a version or a commit of its own", () => {
    const toml = parse(
      head +
        source("plain", 'mirrors = ["https://a.example/plain"]') +
        source("abseil-cpp", `version = "5"\nfile = "a-{version}"\n${mirrors}`) +
        source("sha", `git_sha = "${"c".repeat(40)}"\nmirrors = ["https://a.example/sha"]`),
    );
    expect(buildArgsOf(toml, null)).toEqual({
      "ABSEIL-CPP_VERSION": "5",
      "ABSEIL-CPP_SOURCE": "a-5",
      SHA_GIT_SHA: "c".repeat(40),
    });
  });

  test("writes *_SOURCE with the source's version but the package's dashes, as StageX's generator does", () => {
    const text = `${head}version = "9.8"\n${source("x", `version = "1.2"\nfile = "x-{version}-{version_dash}"\n${mirrors}`)}`;
    const toml = parse(text);
    expect(buildArgsOf(toml, "9.8")).toMatchObject({ X_VERSION: "1.2", X_SOURCE: "x-1.2-9-8" });
    expect(toml.resolvedSources[0]?.file).toBe("x-1.2-1-2");
  });

  test("rejects placeholders that the generator does not know where it would expand them", () => {
    const text = (version: string) =>
      `${head}version = "9.8"\n${source("x", `${version}file = "x-{version_major}"\n${mirrors}`)}`;
    expect(parse(text("")).resolvedSources[0]?.file).toBe("x-9");
    expect(problemsOf(text('version = "1.2"\n'))).toMatchObject([
      { field: "sources.x.file", found: '{version_major} in "x-{version_major}"' },
    ]);
  });
});
