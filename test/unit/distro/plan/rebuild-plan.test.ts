import { describe, expect, test } from "vitest";
import { propertyPath } from "../../../../config/check-failures.ts";
import {
  type ComparedTree,
  planRebuild,
  type Rebuild,
  type RebuildCause,
} from "../../../../distro/plan/rebuild-plan.ts";
import { readTreeSource, type Tree } from "../../../../distro/tree/tree.ts";
import { type Digest, digestOf } from "../../../../oci/digest.ts";
import { MemoryTree } from "../../../support/builders/memory-tree.ts";
import { packageFiles, someHash } from "../../../support/builders/written-tree.ts";

const otherHash = someHash.replaceAll("0", "f");
const tomlText = (version: string, mirror = "https://a.example") =>
  `version = "${version}"\n[sources.one]\nhash = "${someHash}"\nfile = "one.tar"\nmirrors = ["${mirror}/one.tar"]\n`;
const property = ({ input, entry }: Pick<RebuildCause, "input" | "entry">) =>
  propertyPath(entry === undefined ? [input] : [input, entry]);
const toolFolder = "packages/core/tool";

/** core-base < core-tool < user-app, user-side; user-lone is built from nothing. */
const small = memoryTree({
  ...packageFiles("core/base"),
  ...packageFiles("core/tool", {
    toml: tomlText("1.0"),
    containerfile: "FROM stagex/core-base\nARG VERSION\nCOPY used.patch /\n",
  }),
  [`${toolFolder}/used.patch`]: "old",
  [`${toolFolder}/README`]: "read by no build",
  ...packageFiles("user/app", { containerfile: "FROM stagex/core-tool\n" }),
  ...packageFiles("user/side", { containerfile: "FROM stagex/core-tool\nCOPY --from=stagex/user-app . /\n" }),
  ...packageFiles("user/lone"),
});

function memoryTree(texts: Readonly<Record<string, string>>): MemoryTree {
  return new MemoryTree(
    Object.entries(texts).map(([path, content]) => [path, { mode: "100644" as const, content }]),
  );
}

function sideOf({ images }: Tree, digests: Readonly<Record<string, Digest>> = {}): ComparedTree {
  return { images, digests: new Map(Object.entries(digests)) };
}

async function planned(before: MemoryTree, after: MemoryTree) {
  const [old, current] = await Promise.all([readTreeSource(before), readTreeSource(after)]);
  return planRebuild(sideOf(old), sideOf(current));
}

function named(rebuilds: readonly Rebuild[], name: string): Rebuild | undefined {
  return rebuilds.find((rebuild) => rebuild.name === name);
}

const recipe = `${toolFolder}/Containerfile`;
const toml = `${toolFolder}/package.toml`;
const dockerfile = small.text(recipe);
const metadata = small.text(toml);

describe("an image with changed inputs will be rebuilt, with its causes", () => {
  const patched = digestOf("new");
  const cases: [string, Record<string, string | null>, Record<string, [unknown, unknown]>][] = [
    [
      "a comment in the Containerfile",
      { [recipe]: `${dockerfile}# why\n` },
      { containerfile: [digestOf(dockerfile), digestOf(`${dockerfile}# why\n`)] },
    ],
    [
      "a file of the context",
      { [`${toolFolder}/used.patch`]: "new" },
      { context: [{ "used.patch": `100644 ${digestOf("old")}` }, { "used.patch": `100644 ${patched}` }] },
    ],
    [
      "the hash of a source",
      { [toml]: metadata.replace(someHash, otherHash) },
      { 'sources["one.tar"]': [`sha256:${someHash}`, `sha256:${otherHash}`] },
    ],
    [
      "the platforms",
      { [toml]: metadata.replace("[sources", 'platforms = ["linux/386", "linux/arm64"]\n[sources') },
      { platforms: [["linux/amd64"], ["linux/386", "linux/arm64"]] },
    ],
    [
      "a dependency less",
      { [recipe]: dockerfile.replace("stagex/core-base", "scratch") },
      {
        containerfile: [digestOf(dockerfile), digestOf(dockerfile.replace("stagex/core-base", "scratch"))],
        'dependencies["core-base"]': ["unknown", null],
      },
    ],
  ];

  test.each(cases)("%s", async (_, edit, causes) => {
    const { rebuild, added, removed, unchanged } = await planned(small, small.edited(edit));
    const tool = named(rebuild, "core-tool");
    expect(tool?.certainty).toBe("will");
    expect(tool?.path).toEqual(["core-tool"]);
    expect(
      Object.fromEntries(
        tool?.causes.map(({ before, after, ...cause }) => [property(cause), [before, after]]) ?? [],
      ),
    ).toEqual(causes);
    expect(rebuild.map(({ name, certainty }) => `${certainty} ${name}`)).toEqual([
      "will core-tool",
      "may user-app",
      "may user-side",
    ]);
    expect([added, removed, unchanged]).toEqual([[], [], ["core-base", "user-lone"]]);
  });

  test("lists the version and the arguments made from it", async () => {
    const { rebuild } = await planned(small, small.edited({ [toml]: metadata.replace("1.0", "1.1") }));
    expect(named(rebuild, "core-tool")?.causes.map(property)).toEqual([
      "version",
      "buildArgs.VERSION",
      "buildArgs.VERSION_UNDER",
      "buildArgs.VERSION_DASH",
      "buildArgs.VERSION_MAJOR_MINOR",
      "buildArgs.VERSION_STRIP_SUFFIX",
    ]);
  });

  test("lists a file's mode as a part of the context", async () => {
    const files = new Map(small.content).set(`${toolFolder}/used.patch`, { mode: "100755", content: "old" });
    const { rebuild } = await planned(small, new MemoryTree(files));
    expect(named(rebuild, "core-tool")?.causes).toEqual([
      {
        input: "context",
        before: { "used.patch": `100644 ${digestOf("old")}` },
        after: { "used.patch": `100755 ${digestOf("old")}` },
      },
    ]);
  });
});

test.each([
  ["a comment in package.toml", { [toml]: `# a comment\n${metadata}` }],
  ["white space in package.toml", { [toml]: metadata.replaceAll(" = ", "   =  ").replaceAll("\n", "\n\n") }],
  ["a description", { [toml]: metadata.replace('description = "x"', 'description = "y"') }],
  [
    "a licence and a website",
    { [toml]: metadata.replace("[sources", 'license = "MIT"\nwebsite = "https://x.example"\n[sources') },
  ],
  ["another mirror", { [toml]: metadata.replace("https://a.example", "https://b.example/deep") }],
  ["a mirror more", { [toml]: metadata.replace("mirrors = [", 'mirrors = ["https://c.example/one.tar", ') }],
  [
    "the order of a source's fields",
    {
      [toml]: metadata.replace(/(hash = .*)\n(file = .*)/, "$2\n$1"),
    },
  ],
  ["a file that no instruction reads", { [`${toolFolder}/README`]: "other", [`${toolFolder}/NEWS`]: "" }],
  ["published digests", { "digests/core.txt": `${someHash} core-tool\n` }],
])("plans no rebuild for %s", async (_, edit) => {
  const after = small.edited(edit);
  expect(after.content).not.toEqual(small.content);
  expect(await planned(small, after)).toEqual({
    rebuild: [],
    added: [],
    removed: [],
    unchanged: ["core-base", "user-lone", "core-tool", "user-app", "user-side"],
  });
});

test("lists added and removed images, and rebuilds their dependents", async () => {
  const grown = small.edited({
    ...packageFiles("core/fresh"),
    [recipe]: `${dockerfile}COPY --from=stagex/core-fresh . /\n`,
  });
  const there = await planned(small, grown);
  expect([there.added, there.removed]).toEqual([["core-fresh"], []]);
  expect(named(there.rebuild, "core-tool")?.causes.at(-1)).toEqual({
    input: "dependencies",
    entry: "core-fresh",
    before: null,
    after: "unknown",
  });
  const back = await planned(grown, small);
  expect([back.added, back.removed]).toEqual([[], ["core-fresh"]]);
  expect(named(back.rebuild, "core-tool")?.causes.at(-1)).toMatchObject({ before: "unknown", after: null });
});

test("gives the shortest path from an image with changed inputs of its own", async () => {
  const { rebuild } = await planned(
    small,
    small.edited({ "packages/core/base/Containerfile": "FROM scratch\n#\n" }),
  );
  expect(Object.fromEntries(rebuild.map(({ name, path }) => [name, path]))).toEqual({
    "core-base": ["core-base"],
    "core-tool": ["core-base", "core-tool"],
    "user-app": ["core-base", "core-tool", "user-app"],
    "user-side": ["core-base", "core-tool", "user-side"],
  });
  expect(named(rebuild, "user-side")?.causes.map(property)).toEqual([
    'dependencies["core-tool"]',
    'dependencies["user-app"]',
  ]);
});

describe("with the digests of both sides", () => {
  const [one, two] = [digestOf("one"), digestOf("two")];
  const edited = small.edited({ "packages/core/base/Containerfile": "FROM scratch\n#\n" });
  async function exactly(before: Record<string, Digest>, after: Record<string, Digest>) {
    const plan = planRebuild(
      sideOf(await readTreeSource(small), before),
      sideOf(await readTreeSource(edited), after),
    );
    return plan.rebuild.map(({ name, certainty, causes, path }) => ({ name, certainty, causes, path }));
  }

  test("cuts off the rebuild at equal digests", async () => {
    expect((await exactly({ "core-base": one }, { "core-base": one })).map(({ name }) => name)).toEqual([
      "core-base",
    ]);
  });

  test("makes a rebuild certain at different digests, with both as the cause", async () => {
    const [, tool, app] = await exactly({ "core-base": one }, { "core-base": two });
    expect(tool).toEqual({
      name: "core-tool",
      certainty: "will",
      causes: [{ input: "dependencies", entry: "core-base", before: one, after: two }],
      path: ["core-base", "core-tool"],
    });
    expect(app).toMatchObject({ name: "user-app", certainty: "may" });
  });

  test("keeps a rebuild uncertain with one side's digest alone", async () => {
    const [, tool] = await exactly({ "core-base": one }, {});
    expect(tool).toMatchObject({ certainty: "may", causes: [{ before: one, after: "unknown" }] });
  });

  test("takes only certain causes, and only paths through images that are rebuilt", async () => {
    const rebuilds = await exactly(
      { "core-base": one, "core-tool": one, "user-app": one },
      { "core-base": two, "core-tool": one, "user-app": two },
    );
    // user-app is not built again, so its digest, whatever the ledger claims, is no cause.
    expect(rebuilds.map(({ name }) => name)).toEqual(["core-base", "core-tool"]);
  });
});

test("names properties like the provider's diff", async () => {
  const names = ["one.tar", "plain", "a-b", "_x1", 'quo"te'];
  const sources = (version: string) =>
    names.map(
      (file, index) =>
        `[sources.s${index}]\nversion = "${version}"\nhash = "${someHash}"\nfile = '${file}'\nmirrors = ["https://a.example/x"]\n`,
    );
  const withSources = small.edited({
    [toml]: `${metadata.slice(0, metadata.indexOf("[sources"))}${sources("1").join("")}`,
  });
  const { rebuild } = await planned(small, withSources);
  const properties = named(rebuild, "core-tool")?.causes.map(property) ?? [];
  const expected = names.filter((name) => name !== "one.tar").map((name) => propertyPath(["sources", name]));
  expect(properties.filter((name) => name.startsWith("sources"))).toEqual(expected);
  expect(properties).toContain(propertyPath(["buildArgs", "S0_VERSION"]));
});
