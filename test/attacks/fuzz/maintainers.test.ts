import { expect } from "vitest";
import { keyOwners, parseRoster } from "../../../trust/quorum/roster.ts";
import { TrustError } from "../../../trust/trust-error.ts";
import { fuzz } from "./fuzzer.ts";
import { named, treeSeeds } from "./tree-seeds.ts";

fuzz("MAINTAINERS", () => ({
  seeds: treeSeeds(named("MAINTAINERS")),
  dictionary: [
    "[people]",
    "[people.ash]",
    "[keys.ash.one]",
    "[machines.ash.x]",
    "brand = ",
    "id = ",
    "0".repeat(40),
    "AMD",
    "[[people]]",
    "{}",
    '"""',
  ],
  expected: [TrustError],
  read(input) {
    const roster = parseRoster(input.toString("utf8"));
    for (const [id, person] of roster) {
      expect(person.id).toBe(id);
      for (const fingerprint of person.fingerprints)
        expect(fingerprint).toMatch(/^[0-9A-F]{40}([0-9A-F]{24})?$/i);
    }
    keyOwners(roster, (fingerprint) => fingerprint);
  },
}));
