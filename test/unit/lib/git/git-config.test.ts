import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseGitConfig, parsePlainConfig } from "../../../../lib/git/git-config.ts";

/** What git itself makes of a text; undefined where it refuses it. */
function asGit(text: string): ReadonlyMap<string, string> | undefined {
  const args = ["config", "--file", "-", "--no-includes", "--list", "-z"];
  const { status, stdout } = spawnSync("git", args, { cwd: "/", input: text, encoding: "utf8" });
  if (status !== 0) return undefined;
  const entries = stdout.split("\0").slice(0, -1);
  return new Map(
    entries.map((entry) => {
      const [name = "", ...value] = entry.split("\n");
      return [name, value.length === 0 ? "true" : value.join("\n")];
    }),
  );
}

const cloned = `[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
[remote "origin"]
\turl = https://example.org/a b/tree.git
\tfetch = +refs/heads/*:refs/remotes/origin/*
[branch "Main.x"]
\tremote = origin
\tmerge = refs/heads/Main.x
[Extensions]
\tObjectFormat = sha256
\tworktreeConfig
`;

test("parses a configuration that git wrote without git, and as git does", () => {
  expect(parsePlainConfig(cloned)).toEqual(asGit(cloned));
  expect(parsePlainConfig(cloned)?.get("extensions.objectformat")).toBe("sha256");
});

test.each([
  '[core]\n\tbare = "false"\n',
  "[core]\n\tbare = fa\\\nlse\n",
  "[core]\n\tbare = false ; true\n",
  "[core]\n\tbare=false\n",
  "[core]\n\tbare = \n",
  "[a.b]\n\tc = d\n",
  '[a "b\\"c"]\n\tc = d\n',
  "[core] bare = true\n",
  "bare = true\n",
  "\ufeff[core]\n\tbare = true\n",
  "[core]\r\n\tbare = true\r\n",
  "[core]\n\tbare = a\tb\n",
])("parsePlainConfig leaves any other text to git: %j", async (text) => {
  expect(parsePlainConfig(text)).toBeUndefined();
  const git = asGit(text);
  if (git === undefined) await expect(parseGitConfig(text)).rejects.toThrow();
  else expect(await parseGitConfig(text)).toEqual(git);
});

test("parses any configuration that needs no git as git does", () => {
  const piece = fc.constantFrom(
    ...[
      "[core]",
      '[a "B c"]',
      "[X]",
      "\tbare = true",
      "\tB = c d",
      "\tb",
      " c = é",
      "[x.y]",
      "\td=e",
      "#",
      ";",
    ],
    ...[
      "\te = f #g",
      '\th = "i"',
      "\tj = k\\",
      "\t= l",
      "[",
      "]",
      "[m] n = o",
      "\tp = q  ",
      "\tr  = s",
      '[t "]"]',
      "\tu = [v]",
    ],
  );
  let plain = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 4 }), (lines) => {
      const text = `${lines.join("\n")}\n`;
      const found = parsePlainConfig(text);
      if (found === undefined) return;
      plain++;
      expect(found).toEqual(asGit(text));
    }),
    { numRuns: 400 },
  );
  expect(plain).toBeGreaterThan(20);
});
