import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { analyse } from "scslre";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

type Expression = { readonly place: string; readonly pattern: string; readonly flags: string };

const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\0")
  .filter((file) => /^(?!test\/|bench\/|examples\/).*\.ts$/.test(file));

const expressions = files.flatMap((file) => expressionsIn(file, readFileSync(join(root, file), "utf8")));

test("the product has expressions to check", () => {
  expect(expressions.length).toBeGreaterThan(150);
});

test("the analysis finds super-linear expressions", () => {
  expect(superlinear({ place: "", pattern: "^(a+)+$", flags: "" })).not.toEqual([]);
  expect(superlinear({ place: "", pattern: "^=\\s*(.+?)\\s*$", flags: "" })).not.toEqual([]);
  expect(superlinear({ place: "", pattern: "x*$", flags: "g" })).not.toEqual([]);
  expect(superlinear({ place: "", pattern: "^[a-z]+$", flags: "" })).toEqual([]);
});

test("every regular expression of the product takes linear time", () => {
  expect(expressions.flatMap(superlinear)).toEqual([]);
});

test("few places make expressions from texts, of fixed words", () => {
  const made = files.filter((file) => /\bRegExp\(/.test(readFileSync(join(root, file), "utf8")));
  expect(made).toEqual([
    "distro/recipe/context-files.ts",
    "trust/signatures/image-reference.ts",
    "trust/signatures/lookaside-folder.ts",
  ]);
});

function superlinear({ place, pattern, flags }: Expression): string[] {
  const { reports } = analyse(
    { source: pattern, flags },
    { reportTypes: { Move: true, Self: true, Trade: true } },
  );
  return reports.slice(0, 1).map(({ type }) => `${place}: /${pattern}/${flags} (${type})`);
}

function expressionsIn(file: string, text: string): Expression[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf("/");
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      const flags = node.text.slice(end + 1);
      found.push({ place: `${file}:${line}`, pattern: node.text.slice(1, end), flags });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}
