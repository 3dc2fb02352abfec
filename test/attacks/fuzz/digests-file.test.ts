import { expect } from "vitest";
import { formatDigestsFile, parseDigestsFile } from "../../../distro/tree/digests-file.ts";
import { TreeError } from "../../../distro/tree-error.ts";
import { fuzz } from "./fuzzer.ts";
import { textOf, treeSeeds } from "./tree-seeds.ts";

fuzz("digests file", () => ({
  seeds: treeSeeds((path) => /\/digests\/[^/]+\.txt$/.test(path)),
  dictionary: [" core-", "bootstrap-", "0".repeat(64), "\n\n"],
  expected: [TreeError],
  read(input) {
    const text = textOf(input);
    if (text === undefined) return;
    for (const stage of ["core", "bootstrap", "user"]) {
      try {
        const digests = parseDigestsFile(`digests/${stage}.txt`, text);
        for (const [name, hex] of digests) expect(`${hex} ${name}`).toMatch(/^[0-9a-f]{64} [a-z]+-\S+$/);
        expect(text).toContain(formatDigestsFile(new Map([...digests].slice(0, 1))).trimEnd());
      } catch (error) {
        if (!(error instanceof TreeError)) throw error;
      }
    }
  },
}));
