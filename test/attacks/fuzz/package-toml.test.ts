import { expect } from "vitest";
import { buildArgsOf } from "../../../distro/recipe/package-sources.ts";
import { parsePackageToml } from "../../../distro/recipe/package-toml-parser.ts";
import { TreeError } from "../../../distro/tree-error.ts";
import { fuzz } from "./fuzzer.ts";
import { named, textOf, treeSeeds } from "./tree-seeds.ts";

fuzz("package.toml", () => ({
  seeds: treeSeeds(named("package.toml")),
  dictionary: [
    "[package]",
    "[sources.a]",
    "[[sources]]",
    "version_from",
    "subpackages = [",
    "platforms",
    "{version}",
    "{{",
    "mirrors",
    "1979-05-27",
    '"""',
    "'''",
    "inf",
    "nan",
    "a.b.c",
  ],
  expected: [TreeError],
  read(input) {
    const text = textOf(input);
    if (text === undefined) return;
    const toml = parsePackageToml("packages/core/x/package.toml", text);
    expect(toml.name).toMatch(/^[a-z0-9][a-z0-9._-]*$/);
    for (const { file, sha256, mirrors } of toml.resolvedSources) {
      expect(file).toMatch(/^[^./\\][^/\\]*$/);
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(mirrors.every((mirror) => /^[a-z][a-z0-9+.-]*:\/\//i.test(mirror) && URL.canParse(mirror))).toBe(
        true,
      );
    }
    for (const version of [null, "1.2-3"]) buildArgsOf(toml, version);
  },
}));
