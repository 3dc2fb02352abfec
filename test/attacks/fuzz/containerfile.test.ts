import { expect } from "vitest";
import { contextReadsOf } from "../../../distro/recipe/containerfile.ts";
import { parseContainerfile } from "../../../distro/recipe/containerfile-parser.ts";
import { checkContextReads, selectContextFiles } from "../../../distro/recipe/context-files.ts";
import { TreeError } from "../../../distro/tree-error.ts";
import type { TreeFile } from "../../../distro/tree-source.ts";
import { fuzz } from "./fuzzer.ts";
import { named, textOf, treeSeeds } from "./tree-seeds.ts";

const recipe = "packages/core/x/Containerfile";
const files: TreeFile[] = [
  "Containerfile",
  "package.toml",
  "a.patch",
  "d/e/f",
  "fetch/x",
  ".dockerignore",
].map((path) => ({ path, mode: "100644" }));

fuzz("Containerfile", () => ({
  seeds: treeSeeds(named("Containerfile")),
  dictionary: [
    "FROM ",
    "FROM scratch AS x\n",
    "COPY --from=",
    "RUN --mount=type=bind,source=",
    "# escape=`\n",
    "# syntax=x\n",
    "#!\n",
    "<<EOF\n",
    "<< -E\n",
    "${a:-",
    "$TARGETARCH",
    "stagex/core-x",
    "ONBUILD ",
    "--",
    "\\\n",
    '["a", "b"]',
    "**/*",
    "@sha256:",
    "--parents",
  ],
  expected: [TreeError],
  read(input) {
    const text = textOf(input);
    if (text === undefined) return;
    const containerfile = parseContainerfile(recipe, text, { VERSION: "1.0" });
    for (const { name } of containerfile.dependencies) expect(name).toMatch(/^[a-z0-9][a-z0-9._-]*$/);
    checkContextReads(recipe, files, containerfile);
    const filesOf = selectContextFiles(files, containerfile);
    for (const target of [null, ...containerfile.stages.map(({ name }) => name)]) {
      contextReadsOf(containerfile, target);
      expect(filesOf(target).every((file) => files.includes(file))).toBe(true);
    }
  },
}));
