import fc from "fast-check";
import { expect, test } from "vitest";
import type { CpuVendor } from "../../../../trust/cpu-vendor.ts";
import { tryParseFingerprint } from "../../../../trust/openpgp/fingerprint.ts";
import { Keyring } from "../../../../trust/openpgp/keyring.ts";
import {
  describeMissingSignatures,
  findMissingSignatures,
  findSigners,
} from "../../../../trust/quorum/missing-signatures.ts";
import type { AcceptedSignature } from "../../../../trust/quorum/quorum.ts";
import { type Person, parseRoster } from "../../../../trust/quorum/roster.ts";
import { daysFromNow, maintainersOf, newKey } from "../../../support/builders/maintainers.ts";

const vendors = ["AuthenticAMD", "GenuineIntel", "ARM"] as const;
const fingerprint = tryParseFingerprint("0".repeat(40));

function person(id: string, ...of: CpuVendor[]): Person {
  return { id, name: id, fingerprints: [], machines: of.map((cpuVendor) => ({ id: cpuVendor, cpuVendor })) };
}

function accepted(...signed: [string, CpuVendor | null][]): readonly AcceptedSignature[] {
  if (fingerprint === undefined) throw new Error("it is a fingerprint");
  return signed.map(([id, cpuVendor], index) => ({
    file: `signature-${index + 1}`,
    person: id,
    fingerprint,
    cpuVendor,
  }));
}

function lacking(signed: [string, CpuVendor | null][], rule: [number, number], signers: readonly Person[]) {
  const outcome = {
    accepted: accepted(...signed),
    people: new Set(signed.map(([id]) => id)).size,
    vendors: standing(signed),
  };
  return findMissingSignatures(outcome, { threshold: rule[0], vendors: rule[1] }, signers);
}

const alice = person("alice", "GenuineIntel");
const bob = person("bob", "AuthenticAMD");
const carol = person("carol", "GenuineIntel");

test("counts one signature for a missing person and a missing vendor", () => {
  expect(lacking([["alice", "GenuineIntel"]], [2, 2], [alice, bob, carol])).toEqual({
    people: 1,
    vendors: 1,
    signatures: 1,
    helpfulPeople: ["bob", "carol"],
    helpfulVendors: ["AuthenticAMD"],
  });
});

test("counts two signatures if no other person has another vendor", () => {
  const both = person("alice", "GenuineIntel", "AuthenticAMD");
  expect(lacking([["alice", "GenuineIntel"]], [2, 2], [both, carol])).toMatchObject({
    signatures: 2,
    helpfulPeople: ["alice", "carol"],
  });
});

test("names everyone with either vendor if one person signed on both", () => {
  const both = person("alice", "GenuineIntel", "AuthenticAMD");
  const signed: [string, CpuVendor | null][] = [
    ["alice", "GenuineIntel"],
    ["alice", "AuthenticAMD"],
  ];
  expect(lacking(signed, [1, 2], [both, bob, carol])).toEqual({
    ...{ people: 0, vendors: 1, signatures: 1 },
    ...{ helpfulPeople: ["bob", "carol"], helpfulVendors: ["AuthenticAMD", "GenuineIntel"] },
  });
  expect(lacking(signed, [1, 2], [both]).impossible).toBe(
    "each vendor counts by another person, and the roster's can stand for 1 at most",
  );
});

test("names a vendor that is signed on already if its person can stand for another", () => {
  const both = person("alice", "GenuineIntel", "AuthenticAMD");
  const signed: [string, CpuVendor | null][] = [
    ["alice", "GenuineIntel"],
    ["carol", null],
  ];
  expect(lacking(signed, [2, 2], [both, carol])).toEqual({
    ...{ people: 0, vendors: 1, signatures: 2 },
    ...{ helpfulPeople: ["alice", "carol"], helpfulVendors: ["AuthenticAMD", "GenuineIntel"] },
  });
});

test("handles a roster of 400 people in a second", () => {
  const crowd = Array.from({ length: 400 }, (_, at) =>
    person(`p${at}`, ...vendors.filter((_, bit) => (at >> bit) & 1)),
  );
  const since = performance.now();
  expect(lacking([["p1", "AuthenticAMD"]], [3, 3], crowd).signatures).toBe(2);
  expect(performance.now() - since).toBeLessThan(1000);
});

test("reports a rule that no further signature can meet", () => {
  const { impossible } = lacking([["alice", "GenuineIntel"]], [3, 0], [alice, bob]);
  expect(impossible).toBe("only 1 else in the roster has a key that may sign");
  const one = lacking([["alice", "GenuineIntel"]], [2, 2], [alice, carol]);
  expect(describeMissingSignatures(one)).toBe(
    "1 more person and 1 more CPU vendor (carol), and that can't be: the roster has machines of no other CPU vendor",
  );
});

test("agrees with brute force on the fewest signatures, and on who helps", () => {
  const people = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 4 });
  const machines = fc.array(fc.constantFrom(...vendors), { maxLength: 2 });
  const cases = fc.record({
    roster: people.chain((ids) => fc.tuple(...ids.map((id) => machines.map((of) => person(id, ...of))))),
    done: fc.nat(2),
    threshold: fc.integer({ min: 1, max: 3 }),
    needed: fc.nat(3),
  });
  fc.assert(
    fc.property(cases, ({ roster, done, threshold, needed }) => {
      const words = roster.flatMap(({ id, machines: own }): [string, CpuVendor | null][] =>
        [...new Set(own.map(({ cpuVendor = null }) => cpuVendor)), null].map((vendor) => [id, vendor]),
      );
      const signed = words.slice(0, done);
      const found = lacking(signed, [threshold, needed], roster);
      const least = fewest(signed, words, threshold, needed);
      expect(found.impossible === undefined ? found.signatures : null).toBe(least);
      if (least === null || found.people > 0) return;
      const helping = words.filter(([id, one]) => {
        const after = fewest([...signed, [id, one]], words, threshold, needed);
        return after !== null && after < least;
      });
      expect(found.helpfulPeople).toEqual([...new Set(helping.map(([id]) => id))].sort());
      expect(found.helpfulVendors).toEqual([...new Set(helping.flatMap(([, one]) => one ?? []))].sort());
    }),
  );
});

test("counts three signatures where only all three together supply a vendor", () => {
  const roster = [
    person("ann", "GenuineIntel", "AuthenticAMD"),
    person("ben", "AuthenticAMD", "ARM"),
    person("cem", "GenuineIntel"),
  ];
  const signed: [string, CpuVendor][] = [
    ["ann", "GenuineIntel"],
    ["ben", "AuthenticAMD"],
  ];
  expect(lacking(signed, [2, 3], roster).signatures).toBe(3);
});

test("handles a roster of 300 people with different machines in 5 seconds", () => {
  const knownVendors = [
    ...([...vendors, "Ampere", "Apple", "Broadcom", "Cavium", "Fujitsu", "HiSilicon"] as const),
    ...(["Microsoft", "NVIDIA", "Qualcomm", "IBM", "SiFive"] as const),
  ];
  const kinds = knownVendors.flatMap((a) =>
    knownVendors.flatMap((b) => knownVendors.map((c) => [a, b, c] as const)),
  );
  const roster = Array.from({ length: 300 }, (_, index) =>
    person(`p${index}`, ...(kinds[(index * 7) % kinds.length] ?? [])),
  );
  const signed = roster
    .slice(0, 40)
    .map(({ id, machines }): [string, CpuVendor | null] => [id, machines[0]?.cpuVendor ?? null]);
  const started = performance.now();
  const found = lacking(signed.slice(0, 3), [20, knownVendors.length], roster);
  expect(performance.now() - started).toBeLessThan(5000);
  expect(found).toMatchObject({ people: 17, signatures: 17 });
});

/** By trying all ways to give each person one vendor or none: the most different vendors that are given. */
function standing(signed: readonly (readonly [string, CpuVendor | null])[]): number {
  const choices = [...Map.groupBy(signed, ([id]) => id).values()].map((own) =>
    own.flatMap(([, one]) => one ?? []),
  );
  const most = (at: number, taken: readonly CpuVendor[]): number => {
    const own = choices[at];
    if (!own) return taken.length;
    const given = own.filter((one) => !taken.includes(one)).map((one) => most(at + 1, [...taken, one]));
    return Math.max(most(at + 1, taken), ...given);
  };
  return most(0, []);
}

/** By brute force: null where no set of signatures will do. */
function fewest(
  signed: readonly [string, CpuVendor | null][],
  words: readonly [string, CpuVendor | null][],
  threshold: number,
  needed: number,
): number | null {
  let best: number | null = null;
  for (let set = 0; set < 2 ** words.length; set++) {
    const chosen = words.filter((_, index) => (set >> index) & 1);
    const together = [...signed, ...chosen];
    const enough = new Set(together.map(([id]) => id)).size >= threshold && standing(together) >= needed;
    if (enough && (best === null || chosen.length < best)) best = chosen.length;
  }
  return best;
}

test("finds the people whose keys may sign now", async () => {
  const good = await newKey("good");
  const expired = await newKey("expired", { keyExpirationTime: 3600 });
  const people = {
    good: { keys: [good] },
    expired: { keys: [expired] },
    absent: { keys: [await newKey("absent")] },
  };
  const trust = { roster: parseRoster(maintainersOf(people)), keyring: await Keyring.of([good, expired]) };
  expect((await findSigners(trust)).map(({ id }) => id)).toEqual(["good"]);
  expect((await findSigners(trust, daysFromNow(-1.99))).map(({ id }) => id)).toEqual(["good", "expired"]);
});
