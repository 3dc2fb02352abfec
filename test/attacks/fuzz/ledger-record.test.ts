import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { isInputKey, parseInputKey } from "../../../distro/input-key.ts";
import { Ledger } from "../../../distro/ledger/ledger.ts";
import { digestOf, hexOf, isDigest } from "../../../oci/digest.ts";
import { scratchFolder } from "../../support/builders/scratch-folder.ts";
import { fuzz } from "./fuzzer.ts";

const key = parseInputKey(hexOf(digestOf("key")));
const entry = {
  inputKey: key,
  image: "core-x",
  digests: { index: digestOf("index"), platforms: { "linux/amd64": digestOf("amd64") } },
  builder: { id: "ash", facts: null },
  seconds: 1.5,
  outcome: "built",
  finished: "2026-01-01T00:00:00Z",
} as const;

fuzz("ledger record", async () => {
  const root = await scratchFolder();
  const ledger = new Ledger(root);
  const file = await ledger.append(entry);
  const { readFileSync } = await import("node:fs");
  const seeds = [readFileSync(file)];
  return {
    seeds,
    dictionary: [
      '"outcome"',
      '"built"',
      '"mismatch"',
      "sha256:",
      '"platforms"',
      '"facts"',
      "null",
      "true",
      "{}",
      "[]",
      '"format"',
    ],
    expected: [],
    async read(input) {
      rmSync(file, { force: true });
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, input);
      const { kind, digests, records, problems } = await ledger.lookUp(key);
      expect(records.length + problems.length).toBe(1);
      for (const record of records) {
        expect(isInputKey(record.inputKey)).toBe(true);
        expect(Object.values(record.digests.platforms).every(isDigest)).toBe(true);
      }
      expect(kind === "known").toBe(digests !== null);
      // Of another key it is none of this one's.
      if (kind === "known") expect(records[0]?.inputKey).toBe(key);
      await new Ledger(join(root)).readAll();
    },
  };
});
