import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parse } from "smol-toml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { archives } from "../../../examples/seed-tree/make-archives.ts";

const tree = join(import.meta.dirname, "../../../examples/seed-tree");
const seed = "packages/bootstrap/hex0/hex0-seed";

/** The files of the tree that git tracks or would track, relative to it. */
function treeFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: tree,
    encoding: "utf8",
  });
  return [...new Set(listed.split("\0"))].filter((path) => path !== "" && existsSync(join(tree, path)));
}

/** A reader of hex0 that shares nothing with the seed: comments and blanks out, then two digits a byte. */
function assemble(source: string): Buffer {
  const digits = source.replace(/[#;].*/g, "").replace(/\s/g, "");
  expect(digits).toMatch(/^([0-9A-Fa-f]{2})*$/);
  return Buffer.from(digits, "hex");
}

function isText(bytes: Buffer): boolean {
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) && !text.includes("\0");
}

describe("the seed", () => {
  test("is the assembly of its annotated source", () => {
    expect(readFileSync(join(tree, seed))).toEqual(
      assemble(readFileSync(join(tree, "packages/bootstrap/hex0/hex0.hex0"), "utf8")),
    );
  });

  test("is a program that git keeps as one", () => {
    const [mode] = execFileSync("git", ["ls-files", "--stage", "--", seed], {
      cwd: tree,
      encoding: "utf8",
    }).split(" ");
    expect(mode).toBe("100755");
  });

  test("is the only binary in the tree, archives aside", () => {
    const binaries = treeFiles().filter(
      (path) => !path.endsWith(".tar") && !isText(readFileSync(join(tree, path))),
    );
    expect(binaries).toEqual([seed]);
  });

  test("says in its annotations where each byte is", () => {
    for (const source of [
      "bootstrap/hex0/hex0.hex0",
      "bootstrap/hex0/compare.hex0",
      "bootstrap/hex1/hex1.hex0",
    ]) {
      let offset = 0;
      for (const line of readFileSync(join(tree, "packages", source), "utf8").split("\n")) {
        const bytes = assemble(line).length;
        if (bytes > 0) {
          expect(line, source).toMatch(
            new RegExp(`# ${offset.toString(16).toUpperCase().padStart(3, "0")}: \\S`),
          );
        }
        offset += bytes;
      }
    }
  });
});

describe.runIf(process.platform === "linux" && process.arch === "x64")("hand-written programs, run", () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);
  const status = (program: string, ...args: string[]): number | null => spawnSync(at(program), args).status;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "seed-tree-"));
    for (const [name, source] of [
      ["hex0", "bootstrap/hex0/hex0.hex0"],
      ["compare", "bootstrap/hex0/compare.hex0"],
      ["hex1", "bootstrap/hex1/hex1.hex0"],
    ] as const) {
      writeFileSync(at(name), assemble(readFileSync(join(tree, "packages", source), "utf8")), {
        mode: 0o755,
      });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("compare distinguishes equal from unequal, longer, shorter and absent files", () => {
    writeFileSync(at("one"), "same");
    writeFileSync(at("same"), "same");
    writeFileSync(at("other"), "sama");
    writeFileSync(at("longer"), "same, and more");
    writeFileSync(at("empty"), "");
    expect(status("compare", at("one"), at("same"))).toBe(0);
    expect(status("compare", at("empty"), at("empty"))).toBe(0);
    for (const [a, b] of [
      ["one", "other"],
      ["one", "longer"],
      ["longer", "one"],
      ["one", "empty"],
      ["one", "absent"],
      ["absent", "absent"],
    ] as const) {
      expect(status("compare", at(a), at(b)), `${a}, ${b}`).not.toBe(0);
    }
    expect(status("compare", at("one"))).not.toBe(0);
  });

  test("hex0 accepts comments, blanks and both cases, and refuses other input", () => {
    writeFileSync(at("good"), "4a 4B # x\n; y\n\t4\nc");
    expect(status("hex0", at("good"), at("out"))).toBe(0);
    expect(readFileSync(at("out"), "utf8")).toBe("JKL");
    for (const bad of ["4", "g", "4:", "@", "/"]) {
      writeFileSync(at("bad"), bad);
      expect(status("hex0", at("bad"), at("out")), bad).not.toBe(0);
    }
    expect(status("hex0", at("absent"), at("out"))).not.toBe(0);
    expect(status("hex0", at("good"), at("no/such/folder"))).not.toBe(0);
  });

  test("hex1 resolves labels before and behind, and refuses unknown and unfinished ones", () => {
    writeFileSync(at("good"), ":start 41 %end $end\n42 %start\n:end $end ");
    expect(status("hex1", at("good"), at("out"))).toBe(0);
    expect(readFileSync(at("out")).toString("hex")).toBe("41090000000e00000042f2ffffff0e000000");
    for (const bad of ["%nowhere ", ":a $a", "4 :a 1 ", "%a-name-of-more-than-23-letters "]) {
      writeFileSync(at("bad"), bad);
      expect(status("hex1", at("bad"), at("out")), bad).not.toBe(0);
    }
  });
});

const packageToml = z.object({
  package: z.object({ version: z.string().optional() }),
  sources: z
    .record(
      z.string(),
      z.object({
        hash: z.string(),
        version: z.string().optional(),
        format: z.string().optional(),
        file: z.string().optional(),
        mirrors: z.tuple([z.string()], z.string()),
      }),
    )
    .default({}),
});

describe("the archives", () => {
  test("are made of the texts in sources/, byte for byte", async () => {
    const made = await archives();
    const committed = treeFiles().filter((path) => path.startsWith("fetch/"));
    expect(committed.sort()).toEqual(made.map(({ path }) => path));
    for (const { path, bytes } of made) expect(readFileSync(join(tree, path)).equals(bytes), path).toBe(true);
  });

  test("hold only text", () => {
    const sources = treeFiles().filter((path) => path.startsWith("sources/"));
    expect(sources.filter((path) => !isText(readFileSync(join(tree, path))))).toEqual([]);
  });

  test("have the hashes that package.toml says, and each belongs to a package", () => {
    const named: string[] = [];
    for (const path of treeFiles().filter((file) => basename(file) === "package.toml")) {
      const { package: about, sources } = packageToml.parse(parse(readFileSync(join(tree, path), "utf8")));
      for (const source of Object.values(sources)) {
        const file = (source.file ?? basename(source.mirrors[0]))
          .replaceAll("{version}", source.version ?? about.version ?? "")
          .replaceAll("{format}", source.format ?? "");
        const archive = path.replace("packages/", "fetch/").replace("package.toml", file);
        expect(
          createHash("sha256")
            .update(readFileSync(join(tree, archive)))
            .digest("hex"),
          archive,
        ).toBe(source.hash);
        named.push(archive);
      }
    }
    expect(named.sort()).toEqual(
      treeFiles()
        .filter((file) => file.startsWith("fetch/"))
        .sort(),
    );
  });
});

test("the digests are sorted, and there is one for each image", () => {
  const listed = readdirSync(join(tree, "digests")).flatMap((file) => {
    const lines = readFileSync(join(tree, "digests", file), "utf8")
      .trimEnd()
      .split("\n");
    const names = lines.map((line) => z.string().parse(/^[0-9a-f]{64} (\S+)$/.exec(line)?.[1]));
    expect(names).toEqual([...names].sort());
    for (const name of names) expect(name.startsWith(`${basename(file, ".txt")}-`), name).toBe(true);
    return names;
  });
  const images = treeFiles()
    .filter((file) => basename(file) === "package.toml")
    .flatMap((file) => {
      const [, stage, name] = file.split("/");
      const about = z
        .object({ package: z.object({ subpackages: z.array(z.string()).default([`${name}`]) }) })
        .parse(parse(readFileSync(join(tree, file), "utf8")));
      return about.package.subpackages.map((image) => `${stage}-${image}`);
    });
  expect(listed.sort()).toEqual(images.sort());
});
