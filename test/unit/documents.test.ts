import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

const documents = execFileSync("git", ["ls-files", "-z", "*.md"], { cwd: root, encoding: "utf8" })
  .split("\0")
  .filter((file) => file !== "");

/** Returns the anchors of a document's headings, as forges make them. */
function anchorsOf(file: string): Set<string> {
  const headings = readFileSync(file, "utf8").matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, text = ""]) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

test.each(documents)("%s links to files and headings that exist", (document) => {
  const text = readFileSync(join(root, document), "utf8");
  const links = [...text.matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
  const broken = links.filter(([, path = "", anchor]) => {
    const file = path === "" ? join(root, document) : join(root, dirname(document), path);
    return !existsSync(file) || (anchor !== undefined && !anchorsOf(file).has(anchor));
  });
  expect(broken.map(([link]) => link)).toEqual([]);
});

test("docs/threat-model.md names tests that exist", () => {
  const rows = readFileSync(join(root, "docs/threat-model.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| "));
  const named = rows.flatMap((row) => {
    const cells = row.split("|");
    // In a list, names after the first may leave out its folder.
    let folder = "";
    return (cells.at(-2) ?? "").split(",").flatMap((name) => {
      const path = name.trim();
      if (!/^[\w/-]+$/.test(path) || path === "test") return [];
      folder = path.includes("/") ? dirname(path) : folder;
      return [path.includes("/") ? path : `${folder}/${path}`];
    });
  });
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((path) => !existsSync(join(root, "test", `${path}.test.ts`)))).toEqual([]);
});

const workarounds = readdirSync(join(root, "pulumi-workarounds")).filter((file) => file.endsWith(".ts"));

test.each(workarounds)(
  "pulumi-workarounds/%s names upstream, a condition for its removal, and is listed",
  (file) => {
    const text = readFileSync(join(root, "pulumi-workarounds", file), "utf8");
    expect(text).toMatch(/^ \* Upstream: [\s\S]*^ \* Remove .*when/m);
    expect(readFileSync(join(root, "pulumi-workarounds/README.md"), "utf8")).toContain(`](${file})`);
  },
);
