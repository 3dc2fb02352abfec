// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Containerfiles

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refusalsOf } from "../../../../distro/recipe/containerfile.ts";
import { parseContainerfile } from "../../../../distro/recipe/containerfile-parser.ts";
import { platformsToRun, runPlatformsOf } from "../../../../distro/recipe/run-platforms.ts";
import { TreeError } from "../../../../distro/tree-error.ts";

const file = "packages/core/tool/Containerfile";

function dependenciesOf(text: string, buildArgs: Record<string, string> = {}): string[] {
  return parseContainerfile(file, text, buildArgs).dependencies.map(({ name, line }) => `${name}:${line}`);
}

function readsOf(text: string): string[] {
  return parseContainerfile(file, `FROM scratch\n${text}\n`).reads.map(({ path }) => path);
}

function problemOf(text: string) {
  try {
    parseContainerfile(file, text);
  } catch (error) {
    if (error instanceof TreeError) return error.problems[0];
    throw error;
  }
  throw new Error("nothing is wrong with it");
}

describe("dependencies", () => {
  test.each([
    ["a base", "FROM stagex/core-a\n", ["core-a:1"]],
    ["a named base", "FROM stagex/core-a AS build\n", ["core-a:1"]],
    ["a base for a platform", "FROM --platform=linux/386 stagex/core-a AS x\n", ["core-a:1"]],
    ["a base for any platform", "FROM --platform=$BUILDPLATFORM stagex/core-a\n", ["core-a:1"]],
    ["a name with a dot", "FROM scratch\nCOPY --from=stagex/core-py-a.yaml . /\n", ["core-py-a.yaml:2"]],
    ["from as a later flag", "FROM scratch\nCOPY --chmod=755 --from=stagex/core-a . /\n", ["core-a:2"]],
    ["small letters and white space", "from\tscratch\n  copy   --from=stagex/core-a  . /\n", ["core-a:2"]],
    [
      "a continuation",
      "FROM scratch\nCOPY \\\n  # a comment\n\n  --from=stagex/core-a \\\n  . /\n",
      ["core-a:2"],
    ],
    ["quotes", 'FROM scratch\nCOPY --from="stagex/core-a" . /\n', ["core-a:2"]],
    ["a mount", "FROM scratch\nRUN --mount=type=bind,from=stagex/core-a,target=/a true\n", ["core-a:2"]],
    ["a mount in quotes", 'FROM scratch\nRUN --mount="from=stagex/core-a,target=/a" true\n', ["core-a:2"]],
    [
      "two mounts",
      "FROM scratch\nRUN --mount=from=stagex/core-a,target=/a --mount=from=stagex/core-b x\n",
      ["core-a:2", "core-b:2"],
    ],
    ["the registry's full name", "FROM docker.io/stagex/core-a\n", ["core-a:1"]],
    [
      "line ends of another system",
      "FROM stagex/core-a\r\nCOPY --from=stagex/core-b . /\r\n",
      ["core-a:1", "core-b:2"],
    ],
    [
      "each once, where it is first named",
      "FROM stagex/core-a\nCOPY --from=stagex/core-a . /\n",
      ["core-a:1"],
    ],
    ["a global ARG", "ARG base=core-a\nFROM stagex/${base}\n", ["core-a:2"]],
    ["a global ARG in quotes", 'ARG base="stagex/core-a"\nFROM $base\n', ["core-a:2"]],
    ["an inline default", "ARG none\nFROM ${none:-stagex/core-a}\n", ["core-a:2"]],
    ["another escape character", "# escape=`\nFROM `\n  stagex/core-a\n", ["core-a:2"]],
    ["a byte order mark", "\uFEFFFROM stagex/core-a\n", ["core-a:1"]],
    [
      "blanks before a heredoc's word",
      "FROM scratch\nRUN cat << EOF > /f\nx\nEOF\nCOPY --from=stagex/core-a . /\n",
      ["core-a:5"],
    ],
    ["an indented directive", " # escape=`\nFROM `\n stagex/core-a\n", ["core-a:2"]],
    // An unknown directive ends them: the next one is a comment, and a backslash continues lines.
    [
      "another comment before a directive",
      "# author=me\n# escape=`\nFROM \\\n stagex/core-a\n",
      ["core-a:3"],
    ],
    ["a shebang before a directive", "#!x\n# escape=`\nFROM \\\n stagex/core-a\n", ["core-a:3"]],
    [
      "flags with the chosen escape character",
      "# escape=`\nFROM scratch\nCOPY --from=stagex/core-`a . /\n",
      ["core-a:3"],
    ],
    ["a flag in quotes that do not end", 'FROM scratch\nCOPY --from="stagex/core-a\n', ["core-a:2"]],
  ])("%s", (_, text, expected) => {
    expect(dependenciesOf(text)).toEqual(expected);
  });

  test("take a build argument before the ARG's default", () => {
    expect(dependenciesOf("ARG base=core-a\nFROM stagex/${base}\n", { base: "core-b" })).toEqual([
      "core-b:2",
    ]);
  });

  // In each of these StageX's line-based generator would find core-not.
  test.each([
    ["a comment", "FROM scratch\n# FROM stagex/core-not\n"],
    ["a comment in a continued line", "FROM scratch\nRUN true \\\n#\nFROM stagex/core-not\n"],
    ["a heredoc of RUN", "FROM scratch\nRUN <<EOF\nFROM stagex/core-not\nEOF\n"],
    ["a heredoc of COPY", "FROM scratch\nCOPY <<-'EOF' /f\n\tx\nCOPY --from=stagex/core-not . /\n\tEOF\n"],
    [
      "the second heredoc of one RUN",
      'FROM scratch\nRUN cat <<A - <<"B C" >f\nA\nFROM stagex/core-not\nB C\n',
    ],
    ["a continued RUN", "FROM scratch\nRUN echo \\\nFROM stagex/core-not\n"],
  ])("none in %s", (_, text) => {
    expect(dependenciesOf(text)).toEqual([]);
  });

  test("include instructions after text that only looks like a heredoc", () => {
    const after = "\nCOPY --from=stagex/core-a . /\n";
    for (const line of [
      "RUN echo $((1<<2))",
      "RUN cat <<< EOF",
      "RUN echo '<<EOF'",
      "ENV A=<<EOF",
      'RUN ["sh", "<<EOF"]',
      "RUN cat <<-",
    ]) {
      expect(dependenciesOf(`FROM scratch\n${line}${after}`)).toEqual(["core-a:3"]);
    }
  });

  test("include those of the longest line that BuildKit reads", () => {
    expect(dependenciesOf(`FROM scratch\nRUN ${"x".repeat(65_531)}\nFROM stagex/core-a\n`)).toEqual([
      "core-a:3",
    ]);
  });

  test("are limited to a hundred problems of a file", () => {
    const text = `FROM scratch\n${"RUM x\n".repeat(500)}`;
    expect(() => parseContainerfile(file, text)).toThrow(
      expect.objectContaining({ problems: expect.objectContaining({ length: 100 }) }),
    );
  });

  test("allow tabs before the end of a heredoc only after <<-", () => {
    const text = (dash: string) => `FROM scratch\nRUN <<${dash}E\n\tE\nE\nFROM stagex/core-a\n`;
    expect(dependenciesOf(text(""))).toEqual(["core-a:5"]);
    expect(problemOf(text("-"))).toMatchObject({ line: 4, found: '"E"' });
  });
});

describe("stages and other images", () => {
  test("do not count stages, their numbers, the sources and refused images as dependencies", () => {
    const pinned = `debian@sha256:${"0".repeat(64)}`;
    const text = `FROM scratch AS Build\nFROM build AS next\nCOPY --from=BUILD . /\nCOPY --from=0 . /
COPY --from=last . /\nCOPY --from=fetch x /\nFROM ${pinned} AS last\n`;
    const parsed = parseContainerfile(file, text);
    expect(parsed.dependencies).toEqual([]);
    expect(parsed.stages).toMatchObject([
      { name: "build", base: "scratch", line: 1 },
      { name: "next", base: "build", line: 2 },
      { name: "last", base: pinned, line: 7 },
    ]);
  });

  test("accept a stage that is chosen by the platform", () => {
    const text = "FROM scratch AS build-amd64\nFROM scratch AS build-arm64\nFROM build-${TARGETARCH}\n";
    expect(dependenciesOf(text)).toEqual([]);
  });

  test.each([
    ["an image that is not pinned", "FROM debian:12\n", 1, '"debian:12"'],
    ["a slip in a stage's name", "FROM scratch AS build\nCOPY --from=biuld . /\n", 2, '"biuld"'],
    ["a FROM of a later stage", "FROM late\nFROM scratch AS late\n", 1, '"late"'],
    ["a tag", "FROM stagex/core-a:1.0\n", 1, '"stagex/core-a:1.0"'],
    [
      "a digest",
      `FROM stagex/core-a@sha256:${"0".repeat(64)}\n`,
      1,
      `"stagex/core-a@sha256:${"0".repeat(64)}"`,
    ],
    ["a way out", "FROM scratch\nCOPY --from=stagex/../etc . /\n", 2, '"stagex/../etc"'],
    [
      "an image that the platform chooses",
      "FROM stagex/core-${TARGETARCH}\n",
      1,
      '"stagex/core-${TARGETARCH}"',
    ],
    ["an unknown instruction", "FROM scratch\nCOPPY a b\n", 2, '"COPPY"'],
    ["a RUN before any FROM", "RUN true\nFROM scratch\n", 1, "it before any FROM"],
    ["no FROM", "# nothing\n", 1, "no FROM"],
    [
      "a line that BuildKit does not read",
      `FROM scratch\nRUN ${"x".repeat(65_532)}\n`,
      2,
      "a line of 65536 bytes",
    ],
    ["a directive twice", "# escape=`\n# escape=`\nFROM scratch\n", 2, "a second # escape="],
    [
      "a no-break space after a flag",
      "FROM scratch\nCOPY --from=a\u00e0 . /\n",
      2,
      'the flag "--from=a\u00e0"',
    ],
    ["too many stages", "FROM scratch\n".repeat(300), 257, "300 stages"],
    ["too many wildcards", `FROM scratch\n${"COPY a* /\n".repeat(300)}`, 202, "more paths than that"],
    [
      "a value that doubles",
      `ARG A0=xx\n${Array.from({ length: 20 }, (_, i) => `ARG A${i + 1}=$A${i}$A${i}\n`).join("")}FROM scratch\n`,
      13,
      "a value of 8192 characters",
    ],
    ["an unfinished heredoc", "FROM scratch\nRUN <<EOF\nx\n", 2, "heredoc <<EOF without its end"],
    ["another frontend", "# syntax=docker/dockerfile:1\nFROM scratch\n", 1, '"docker/dockerfile:1"'],
    ["an unknown escape", "# escape=!\nFROM scratch\n", 1, "# escape=!"],
    ["ONBUILD", "FROM scratch\nONBUILD COPY . /\n", 2, '"COPY . /"'],
    ["words after the stage", "FROM scratch AS a b\n", 1, '"scratch AS a b"'],
  ])("rejects %s", (_, text, line, found) => {
    expect(problemOf(text)).toMatchObject({ file, line, found });
  });

  test("name the nearest stage and instruction", () => {
    expect(problemOf("FROM scratch AS build\nCOPY --from=biuld . /\n")?.allowed).toContain(
      "is the stage build meant?",
    );
    expect(problemOf("FROM scratch\nCOPPY a b\n")?.allowed).toContain("COPY");
  });
});

describe("reads", () => {
  test.each([
    ["COPY a b /", ["a", "b"]],
    ["ADD *.patch .", ["*.patch"]],
    ['COPY ["with space", "/"]', ["with space"]],
    ["COPY --chmod=755 <<-EOF /x\nbody\nEOF", []],
    ["COPY <<EOF beside /\nbody\nEOF", ["beside"]],
    ["ADD https://a.example/x .", []],
    ["COPY --from=fetch a .", []],
    ["RUN --mount=type=bind,source=s,target=/s true", ["s"]],
    ["RUN --mount=target=/s true", ["/"]],
    ["RUN --mount=type=cache,target=/s true", []],
    ["RUN --mount=type=bind,from=fetch,source=s,target=/s true", []],
  ])("%s", (text, expected) => {
    expect(readsOf(text)).toEqual(expected);
  });
});

test("lists the arguments that some ARG declares", () => {
  const text = "ARG A=1 B\nFROM scratch\nARG VERSION\nENV C=1\n";
  expect([...parseContainerfile(file, text).args]).toEqual(["A", "B", "VERSION"]);
});

test("parses any text, or throws a TreeError", () => {
  const words = [
    "FROM",
    "scratch",
    "COPY",
    "--from=",
    "stagex/a",
    "<<",
    "EOF",
    "\n",
    "\\",
    '"',
    "'",
    "#",
    "RUN",
    "$",
    "{",
    "[",
    "AS",
    "=",
  ];
  const text = fc
    .array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 40 })
    .map((parts) => parts.join(" "));
  fc.assert(
    fc.property(text, (tail) => {
      try {
        parseContainerfile(file, `FROM scratch\n${tail}`);
      } catch (error) {
        expect(error).toBeInstanceOf(TreeError);
      }
    }),
  );
});

describe("the platforms of the programs that a build runs", () => {
  const arm = ["linux/arm64"];
  test.each([
    ["the target's", "FROM scratch\nRUN x\n", ["target"]],
    ["none, of files alone", "FROM --platform=linux/386 stagex/core-a\nCOPY a /\nWORKDIR /b\n", []],
    ["those of a stage with a platform", "FROM --platform=linux/386 stagex/core-a\nRUN x\n", ["linux/386"]],
    ["in small letters, in quotes", 'from --platform="LINUX/386" stagex/core-a\nrun x\n', ["linux/386"]],
    ["named by an argument", "ARG P=linux/386\nFROM --platform=$P stagex/core-a\nRUN x\n", ["linux/386"]],
    ["the target's, by name", "FROM --platform=$TARGETPLATFORM stagex/core-a\nRUN x\n", ["target"]],
    ["the builder's own", "FROM --platform=${BUILDPLATFORM} stagex/core-a\nRUN x\n", ["builder"]],
    [
      "the target's for scratch, whatever its platform",
      "FROM --platform=linux/386 scratch\nRUN x\n",
      ["target"],
    ],
    [
      "those of a stage below",
      "FROM --platform=linux/386 stagex/core-a AS a\nFROM --platform=linux/amd64 a\nRUN x\n",
      ["linux/386"],
    ],
    [
      "both",
      "FROM --platform=linux/386 stagex/core-a AS a\nRUN x\nFROM scratch\nCOPY --from=a / /\nRUN y\n",
      ["linux/386", "target"],
    ],
    [
      "not those of a stage that is only copied from and runs nothing",
      "FROM --platform=linux/386 stagex/core-a AS a\nFROM scratch\nCOPY --from=a / /\nRUN y\n",
      ["target"],
    ],
    [
      "not those of a stage that the target does not need",
      "FROM --platform=linux/386 stagex/core-a AS a\nRUN x\nFROM scratch\nRUN y\n",
      ["target"],
    ],
    [
      "those of a stage that is mounted",
      "FROM --platform=linux/386 stagex/core-a AS a\nRUN x\nFROM scratch\nRUN --mount=from=a,target=/a y\n",
      ["linux/386", "target"],
    ],
    [
      "those of any stage that the target may choose",
      "FROM --platform=linux/386 stagex/core-a AS b-arm64\nFROM scratch AS b-amd64\nFROM b-${TARGETARCH}\nRUN x\n",
      ["linux/386", "target"],
    ],
    [
      "those of a base that is for one platform only",
      "FROM stagex/core-i386\nRUN x\n",
      ["linux/386", "target"],
    ],
  ])("%s", (_, text, runs) => {
    const only = (image: string) => (image === "core-i386" ? ["linux/386"] : undefined);
    expect(runPlatformsOf(parseContainerfile(file, text), null, arm, only)).toEqual(runs);
  });

  test("do not include a base's only platform where it is the image's own", () => {
    const parsed = parseContainerfile(file, "FROM stagex/core-i386\nRUN x\n");
    expect(runPlatformsOf(parsed, null, ["linux/386"], () => ["linux/386"])).toEqual(["target"]);
  });

  test("require the target's from a builder, but not the builder's own", () => {
    const runs = ["builder", "linux/386", "target"];
    expect(platformsToRun({ runs }, ["linux/arm64", "linux/386"])).toEqual(["linux/386", "linux/arm64"]);
  });
});

describe("a variable of a FROM that BuildKit may read differently", () => {
  const hidden = "FROM scratch AS s\nRUN --mount=type=cache,target=/c x\n";
  const shown = "FROM scratch AS stail\n";
  const end = "COPY a /b\n";
  test.each([
    ["an escape in an ARG", "# escape=`\nARG A=s\nARG B=x\\` A=stail\n", "FROM ${A}\n"],
    ["an open quote in an ARG", "ARG A=s\nARG B='x A=stail\n", "FROM ${A}\n"],
    ["a name that is a number or a sign", "", "FROM s${--tail}\n"],
    ["a name of JavaScript's own", "ARG valueOf\n", "FROM s${valueOf+tail}\n"],
  ])("inspects every stage, or rejects the file: %s", (_, args, from) => {
    const text = `${args}${shown}${hidden}${from}${end}`;
    const countRefusals = () => refusalsOf(parseContainerfile(file, text), null).length;
    let refusals: number;
    try {
      refusals = countRefusals();
    } catch (error) {
      expect(error).toBeInstanceOf(TreeError);
      return;
    }
    expect(refusals).toBe(1);
  });

  test("reads plain quotes in an ARG as BuildKit does", () => {
    const text = `ARG A="core-a"\nARG B='x y'\nFROM stagex/\${A}\n`;
    expect(dependenciesOf(text)).toEqual(["core-a:3"]);
  });
});
