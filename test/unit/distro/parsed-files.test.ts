import { expect, test } from "vitest";
import { ParsedFiles } from "../../../distro/parsed-files.ts";

const toml = (version: string) =>
  `[package]\nname = "x"\nversion = "${version}"\ndescription = "x"\nlicense = "MIT"\n`;
const recipe = (image: string) => `ARG BASE=stagex/core-a\nFROM \${BASE}\nCOPY --from=stagex/${image} . /\n`;

test("a file with the same text is parsed once", () => {
  const parsed = new ParsedFiles();
  const file = "packages/core/x/package.toml";
  expect(parsed.packageToml(file, toml("1"))).toBe(parsed.packageToml(file, toml("1")));
  const path = "packages/core/x/Containerfile";
  const first = parsed.containerfile(path, recipe("core-b"), { BASE: "stagex/core-c" });
  expect(parsed.containerfile(path, recipe("core-b"), { BASE: "stagex/core-c" })).toBe(first);
});

test("another text, other arguments and another path have answers of their own", () => {
  const parsed = new ParsedFiles();
  const file = "packages/core/x/package.toml";
  expect(parsed.packageToml(file, toml("1")).version).toBe("1");
  expect(parsed.packageToml(file, toml("2")).version).toBe("2");
  expect(() => parsed.packageToml("packages/core/y/package.toml", "no toml")).toThrow("packages/core/y");
  expect(() => parsed.packageToml("packages/core/z/package.toml", "no toml")).toThrow("packages/core/z");
  const names = (image: string, args: Record<string, string>) =>
    parsed
      .containerfile("packages/core/x/Containerfile", recipe(image), args)
      .dependencies.map(({ name }) => name);
  expect(names("core-b", {})).toEqual(["core-a", "core-b"]);
  expect(names("core-c", {})).toEqual(["core-a", "core-c"]);
  expect(names("core-c", { BASE: "stagex/core-d" })).toEqual(["core-d", "core-c"]);
});
