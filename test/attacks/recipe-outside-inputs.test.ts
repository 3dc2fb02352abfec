import { describe, expect, test } from "vitest";
import { readTree } from "../../distro/tree/tree.ts";
import { TreeError } from "../../distro/tree-error.ts";
import { packageFiles, trackedTree } from "../support/builders/written-tree.ts";
import { stagex } from "../support/programs/stagex-command.ts";

const foreign = `debian@sha256:${"0".repeat(64)}`;

/** Makes a tree with one good image, and one of this Containerfile. */
function treeOf(containerfile: string): string {
  return trackedTree({
    ...packageFiles("core/good"),
    ...packageFiles("user/bad", { containerfile }),
    "packages/user/bad/file": "x",
  });
}

async function refusalsOf(containerfile: string): Promise<string[]> {
  const { images } = await readTree(treeOf(containerfile));
  expect(images.get("core-good")?.refusals).toEqual([]);
  return (images.get("user-bad")?.refusals ?? []).map(({ line, field }) => `${line} ${field}`);
}

describe("a recipe's inputs from outside of the tree are refused before a build", () => {
  test.each([
    "RUN --mount=type=cache,target=/c x",
    "RUN --mount=target=/c,type=cache x",
    "RUN --mount=type=bind,type=cache,target=/c x",
    "RUN --mount=TYPE=Cache,target=/c x",
    'RUN --mount="type=cache,target=/c" x',
    `RUN --mount='"type=cache",target=/c' x`,
    "RUN --mount=type=ca\\\\che,target=/c x",
    `RUN --mount=type=ca"'"'"che,target=/c x`,
    "RUN --mount=type=$T,target=/c x",
    `RUN --mount=type=ca\${NONE}che,target=/c x`,
    "RUN --network=none --mount=type=cache,id=shared,from=stagex/core-good,target=/c x",
    "RUN --mount=type=tmpfs,target=/t \\\n  --mount=type=cache,target=/c \\\n  x",
    "RUN --mount=type=cache,target=/c <<EOF\nx\nEOF",
  ])("refuses a cache that other builds write: %s", async (run) => {
    expect(await refusalsOf(`FROM scratch\nARG T=cache\n${run}\n`)).toEqual(["3 RUN --mount"]);
  });

  const cached = "RUN --mount=type=cache,target=/c x";
  const stages = `FROM scratch AS s\nFROM scratch AS s-vok\nFROM scratch AS s-v1\n${cached}\nFROM scratch AS s-evil\n${cached}\n`;

  test.each([
    ["behind a carriage return", `FROM scratch\nRUN true \\\r \n${cached}\n`],
    ["behind a byte order mark", `FROM scratch\nRUN true \\\n\uFEFF\n${cached}\n`],
    ["behind a next-line character", `\u0085# escape=\`\nFROM scratch\nRUN true \`\n${cached}\n`],
    ["in what looks like a heredoc", `FROM scratch\nRUN true # it's <<"RUN ls /"\n${cached}\nRUN ls /\n`],
    ["in a heredoc of a variable", `FROM scratch\nRUN <<"RUN true \${A:-}"\n${cached}\nRUN true \${A:-}\n`],
    ["beside a variable without end", `FROM scratch\nRUN \${A <<EOF\n${cached}\nEOF\n`],
    ["in a quoted value", `FROM scratch\nRUN --mount='type=cache,"target=/c,type=bind,x"' x\n`],
    ["in a stage that an empty variable names", `ARG A=\n${stages}FROM s\${A:--evil}\n`],
    [
      "in a stage that a common argument names",
      `ARG SOURCE_DATE_EPOCH=ok\n${stages}FROM s-v$SOURCE_DATE_EPOCH\n`,
    ],
  ])("refuses a cache that is hidden %s", async (_, containerfile) => {
    const found = await refusalsOf(containerfile).catch((error: unknown) => {
      if (!(error instanceof TreeError)) throw error;
      return error.problems.map(({ file }) => file);
    });
    expect(found).not.toEqual([]);
  });

  test.each([
    ["RUN --security=insecure x", "2 RUN --security"],
    ["RUN --security=$S x", "2 RUN --security"],
    ["RUN --device=vendor.example/gpu=0 x", "2 RUN --device"],
    ["RUN --device=vendor.example/gpu,required=false x", "2 RUN --device"],
    ["RUN --network=host x", "2 RUN --network"],
    ["ADD https://example.org/file /", "2 ADD"],
    ["ADD git@example.org:a/b.git /", "2 ADD"],
    [`COPY --from=${foreign} / /`, "2 COPY"],
    [`RUN --mount=from=${foreign},target=/m x`, "2 RUN --mount"],
    [`FROM ${foreign}`, "2 FROM"],
  ])("refuses privileges, devices, networks and foreign images: %s", async (line, refusal) => {
    expect(await refusalsOf(`FROM scratch\n${line}\n`)).toEqual([refusal]);
  });

  test.each([
    "RUN --mount=type=bind,from=stagex/core-good,target=/m x",
    "RUN --mount=from=fetch,target=/m x",
    "RUN --mount=type=tmpfs,target=/t --mount=type=secret,id=s --mount=type=ssh x",
    "RUN --network=none --security=sandbox x",
    "RUN echo --mount=type=cache,target=/c --device=x",
    "RUN <<EOF\nRUN --mount=type=cache,target=/c x\nEOF",
  ])("accepts other flags: %s", async (run) => {
    expect(await refusalsOf(`FROM scratch\n${run}\n`)).toEqual([]);
  });

  test("refuses only images that are built from such a stage", async () => {
    const toml = 'version = "1"\nsubpackages = ["one", "two"]\n';
    const containerfile = `FROM ${foreign} AS outside\nFROM scratch AS package-one\nCOPY --from=outside / /\nFROM scratch AS package-two\nCOPY file /\n`;
    const tree = trackedTree({
      ...packageFiles("user/two", { toml, containerfile }),
      "packages/user/two/file": "x",
    });
    const { images } = await readTree(tree);
    expect(images.get("user-one")?.refusals).toHaveLength(1);
    expect(images.get("user-two")?.refusals).toEqual([]);
  });

  test("show prints line, reason and what is allowed, and shows the other images", async () => {
    const tree = treeOf("FROM scratch\nRUN --mount=type=cache,target=/c x\n");
    const refused = await stagex("show", "user-bad", "--tree", tree);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /^stagex: packages\/user\/bad\/Containerfile:2: RUN --mount: found "type=cache,target=\/c", allowed: .*a cache would bring in what other builds have left/,
    );
    expect((await stagex("show", "core-good", "--tree", tree)).code).toBe(0);
    expect((await stagex("show", "--all", "--tree", tree)).stdout).toContain("user-bad");
  });
});
