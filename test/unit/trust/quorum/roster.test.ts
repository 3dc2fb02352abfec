import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tryParseCpuVendor } from "../../../../trust/cpu-vendor.ts";
import { parseRoster } from "../../../../trust/quorum/roster.ts";

const fpr = "5EED000000000000000000000000000000000001";

test("reads the seed tree's MAINTAINERS", () => {
  const file = fileURLToPath(new URL("../../../../examples/seed-tree/MAINTAINERS", import.meta.url));
  const roster = parseRoster(readFileSync(file, "utf8"));
  expect([...roster.keys()]).toEqual(["ash", "hazel", "rowan"]);
  expect(roster.get("ash")).toEqual({
    id: "ash",
    name: "Ash Linden",
    fingerprints: [fpr],
    machines: [{ id: "desk", cpuVendor: "AuthenticAMD" }],
  });
  expect([...roster.values()].flatMap(({ machines }) => machines.map(({ cpuVendor }) => cpuVendor))).toEqual([
    "AuthenticAMD",
    "GenuineIntel",
    "Ampere",
  ]);
});

test.each([
  ["AMD", "AuthenticAMD"],
  ["AuthenticAMD", "AuthenticAMD"],
  ["amd ", "AuthenticAMD"],
  ["Advanced Micro Devices, Inc.", "AuthenticAMD"],
  ["Intel", "GenuineIntel"],
  ["GenuineIntel", "GenuineIntel"],
  ["Intel(R) Corporation", "GenuineIntel"],
  ["Ampere", "Ampere"],
  ["AWS Graviton", undefined],
  ["Graviton", "ARM"],
  ["unknown", undefined],
  ["", undefined],
  ["constructor", undefined],
])("CPU vendor %j is %s", (text, vendor) => expect(tryParseCpuVendor(text)).toBe(vendor));

test("accepts fingerprints with spaces, lower case and 0x", () => {
  const spaced = "0x5eed 0000 0000 0000 0000  0000 0000 0000 0000 0001";
  expect(parseRoster(`[people.a]\n[keys.a.k]\nid = "${spaced}"`).get("a")?.fingerprints).toEqual([fpr]);
});

test.each([
  ["a key ID", `[people.a]\n[keys.a.k]\nid = "5EED000000000001"`, /\[keys\.a\.k\].*no fingerprint/],
  ["a key of nobody", `[people.a]\n[keys.b.k]\nid = "${fpr}"`, /\[keys\.b\] belongs to no one/],
  ["a machine of nobody", `[people.a]\n[machines.b.m]\nbrand = "AMD"`, /\[machines\.b\] belongs to no one/],
  ["an id that is a path", `[people."../a"]`, /letters, digits/],
  ["no people", "", /not a roster/],
  ["no TOML", "people = [", /not TOML/],
  [
    "one key of two",
    `[people.a]\n[people.b]\n[keys.a.k]\nid = "${fpr}"\n[keys.b.k]\nid = "${fpr.toLowerCase()}"`,
    /two people, a and b/,
  ],
  ["a table twice", "[people.a]\n[people.a]", /not TOML/],
])("refuses %s", (_, text, message) => expect(() => parseRoster(text)).toThrow(message));
