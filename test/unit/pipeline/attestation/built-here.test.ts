import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseInputKey } from "../../../../distro/input-key.ts";
import { Ledger, type LedgerRecord } from "../../../../distro/ledger/ledger.ts";
import { digestOf, hexOf } from "../../../../oci/digest.ts";
import {
  builderClaimOf,
  NotBuiltHereError,
  requireBuiltHere,
} from "../../../../pipeline/attestation/built-here.ts";
import { facts } from "../../../support/builders/builder-facts.ts";
import { scratchFolder } from "../../../support/builders/scratch-folder.ts";

const inputKey = parseInputKey(hexOf(digestOf("inputs")));
const digests = { "linux/amd64": digestOf("amd64"), "linux/arm64": digestOf("arm64") };
const built = { image: "core-hello", inputKey, digests };

function record(change: Partial<LedgerRecord> = {}): LedgerRecord {
  return {
    inputKey,
    image: "core-hello",
    digests: { index: null, platforms: digests },
    builder: { id: "epyc-1", facts },
    seconds: 1,
    outcome: "built",
    finished: "2026-03-01T10:20:30.456Z",
    ...change,
  };
}

/** The records of a machine; `shared` are in the ledger, too or only. */
async function machine(own: readonly LedgerRecord[], shared: readonly LedgerRecord[] = own) {
  const folder = await scratchFolder();
  const records = { built: new Ledger(join(folder, "built")), ledger: new Ledger(join(folder, "ledger")) };
  for (const one of own) await records.built.append(one);
  for (const one of shared) await records.ledger.append(one);
  return records;
}

test("returns the record of an image that was built here", async () => {
  const both = Object.values(digests).map((digest) => [digest, record()] as const);
  expect(await requireBuiltHere(await machine([record()]), built)).toEqual(new Map(both));
});

test("accepts platforms that were built by different builders of this machine", async () => {
  const parts = Object.entries(digests).map(([platform, digest], index) => {
    const part = record({
      builder: { id: `builder-${index}`, facts },
      digests: { index: null, platforms: { [platform]: digest } },
    });
    return [digest, part] as const;
  });
  expect(await requireBuiltHere(await machine(parts.map(([, part]) => part)), built)).toEqual(new Map(parts));
});

test.each([
  [
    "nobody has built it",
    [],
    [],
    /has not built \S+ from these inputs\. Build it here with: pulumi up --replace '\*\*:Package::core-hello'$/,
  ],
  [
    "a release was imported",
    [],
    [record({ builder: { id: "release-2026.03.0", facts: null } })],
    /only release-2026\.03\.0 has/,
  ],
  ["somebody's ledger was merged, under this machine's own name", [], [record()], /only epyc-1 has/],
  [
    "another image came of it here",
    [record({ digests: { index: null, platforms: { ...digests, "linux/arm64": digestOf("x") } } })],
    undefined,
    /has not built/,
  ],
  [
    "only one platform was built",
    [record({ digests: { index: null, platforms: { "linux/amd64": digestOf("amd64") } } })],
    undefined,
    /has not built/,
  ],
  ["it is not what is published", [record({ outcome: "mismatch" })], undefined, /has not built/],
  ["it is another image's", [record({ image: "core-other" })], undefined, /has not built/],
  [
    "it can't be reproduced",
    [record(), record({ digests: { index: null, platforms: { "linux/amd64": digestOf("other") } } })],
    undefined,
    /built twice here, it came out as .* and .*; an image that can't be reproduced must not be signed/,
  ],
])("refused, since %s", async (_, own, shared, reason) => {
  const records = await machine(own, shared ?? own);
  await expect(requireBuiltHere(records, built)).rejects.toThrow(reason);
  await expect(requireBuiltHere(records, built)).rejects.toThrow(NotBuiltHereError);
});

test("does not take records of another ledger for builds here", async () => {
  const [ours, theirs] = [await machine([]), await machine([record()])];
  await cp(theirs.ledger.root, ours.ledger.root, { recursive: true });
  await expect(requireBuiltHere(ours, built)).rejects.toThrow(NotBuiltHereError);
  expect((await requireBuiltHere(theirs, built)).size).toBe(2);
});

test("ignores an unreadable record without failing", async () => {
  const own = await machine([record()]);
  const damaged = { built: own.ledger, ledger: own.built };
  await cp(join(import.meta.dirname, "built-here.test.ts"), await own.ledger.append(record()), {
    force: true,
  });
  await expect(requireBuiltHere(damaged, built)).rejects.toThrow(NotBuiltHereError);
});

test("puts known facts into the claim, and names an unknown CPU vendor", () => {
  const unknown = { ...facts, cpuVendor: "unknown", kernel: "unknown" };
  expect(builderClaimOf(record())).toEqual(facts);
  expect(builderClaimOf(record({ builder: { id: "a", facts: { ...facts, cpuModel: "EPYC" } } }))).toEqual({
    ...facts,
    cpuModel: "EPYC",
  });
  expect(builderClaimOf(record({ builder: { id: "a", facts: unknown } }))).toEqual({
    arch: "amd64",
    cpuVendor: "unknown",
    buildkit: "v0.34.2",
    go: "go1.26.8",
  });
  expect(builderClaimOf(record({ builder: { id: "a", facts: null } }))).toEqual({ cpuVendor: "unknown" });
});
