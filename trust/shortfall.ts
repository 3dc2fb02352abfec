import type { CpuVendor } from "./cpu-vendor.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { type Keyring, mustSignNow } from "./keyring.ts";
import type { QuorumOutcome, QuorumRule, Trust } from "./quorum.ts";
import type { Person } from "./roster.ts";

/** What an image needs to be at quorum. */
export type Shortfall = {
  /** People, of those who have not signed yet. */
  readonly people: number;
  /** CPU vendors that nobody has built on yet. */
  readonly vendors: number;
  /** The fewest signatures that make up for both: one of another person, on another vendor, counts for both. */
  readonly signatures: number;
  /** Who of the roster could make one of them, by id. */
  readonly by: readonly string[];
  /** The vendors, not built on yet, of which these people have machines. */
  readonly on: readonly CpuVendor[];
  /** Why no number of signatures would do, with this roster and these keys. */
  readonly impossible?: string;
};

/** The people whose signatures would count now: with a key that is at hand and may sign. */
export async function signersOf({ roster, keyring }: Trust, now = new Date()): Promise<readonly Person[]> {
  const usable = await usableKeys(keyring, now);
  const primaries = new Set([...usable].filter(([, keys]) => keys.length > 0).map(([primary]) => primary));
  return [...roster.values()].filter(({ fingerprints }) =>
    fingerprints.some((fingerprint) => primaries.has(keyring.primaryOf(fingerprint))),
  );
}

/** The keys of each certificate that may sign now, by the primary key: neither expired nor revoked nor weak. */
export async function usableKeys(
  keyring: Keyring,
  now = new Date(),
): Promise<ReadonlyMap<Fingerprint, readonly Fingerprint[]>> {
  const usable = new Map<Fingerprint, readonly Fingerprint[]>();
  for (const primary of keyring.certificates.keys()) {
    const candidates = keyring.keysOf(primary);
    const good = await Promise.all(
      candidates.map((candidate) =>
        mustSignNow(candidate, now).then(
          () => true,
          () => false,
        ),
      ),
    );
    usable.set(
      primary,
      candidates.filter((_, index) => good[index]).map(({ fingerprint }) => fingerprint),
    );
  }
  return usable;
}

/** What is missing to an outcome; of one that is met, nothing. */
export function shortfallOf(
  { accepted, people, vendors }: Pick<QuorumOutcome, "accepted" | "people" | "vendors">,
  rule: QuorumRule,
  signers: readonly Person[],
): Shortfall {
  const missing = {
    people: Math.max(0, rule.threshold - people),
    vendors: Math.max(0, rule.vendors - vendors),
  };
  const signed = new Set(accepted.map(({ person }) => person));
  const builtOn = new Set(accepted.map(({ cpuVendor }) => cpuVendor));
  const fresh = signers.filter(({ id }) => !signed.has(id));
  const newVendors = (person: Person): CpuVendor[] => [
    ...new Set(
      person.machines.flatMap(({ cpuVendor }) => (cpuVendor && !builtOn.has(cpuVendor) ? cpuVendor : [])),
    ),
  ];
  const on = [...new Set(signers.flatMap(newVendors))].sort();
  const both = Math.min(missing.people, missing.vendors, pairsOf(fresh.map(newVendors)));
  const by = signers.filter(
    (person) =>
      (missing.people > 0 && !signed.has(person.id)) ||
      (missing.vendors > 0 && newVendors(person).length > 0),
  );
  const impossible =
    fresh.length < missing.people
      ? `${fresh.length === 0 ? "nobody" : `only ${fresh.length}`} else in the roster has a key that may sign`
      : on.length < missing.vendors
        ? `the roster has machines of ${on.length === 0 ? "no" : `only ${on.length}`} other CPU vendor`
        : undefined;
  return {
    ...missing,
    signatures: missing.people + missing.vendors - both,
    by: by.map(({ id }) => id).sort(),
    on: missing.vendors > 0 ? on : [],
    ...(impossible === undefined ? {} : { impossible }),
  };
}

/** In words: `1 more person on another CPU vendor (bob, carol; GenuineIntel)`. */
export function shortfallText(shortfall: Shortfall): string {
  const { people, vendors, by, on, impossible } = shortfall;
  const needs = [
    ...(people > 0 ? [counted(people, "more person", "more people")] : []),
    ...(vendors > 0 ? [counted(vendors, "more CPU vendor", "more CPU vendors")] : []),
  ];
  const who = [by.join(", "), on.join(", ")].filter((names) => names !== "").join("; on ");
  const could = who === "" ? "" : ` (${who})`;
  return `${needs.join(" and ")}${could}${impossible === undefined ? "" : `, and that can't be: ${impossible}`}`;
}

/** How many people can each be given a vendor of their own, of those they have: a matching, by augmenting paths. */
function pairsOf(choices: readonly (readonly CpuVendor[])[]): number {
  const taken = new Map<CpuVendor, number>();
  const place = (person: number, tried: Set<CpuVendor>): boolean =>
    (choices[person] ?? []).some((vendor) => {
      if (tried.has(vendor)) return false;
      tried.add(vendor);
      const holder = taken.get(vendor);
      if (holder !== undefined && !place(holder, tried)) return false;
      taken.set(vendor, person);
      return true;
    });
  return choices.filter((_, person) => place(person, new Set())).length;
}

function counted(number: number, one: string, several: string): string {
  return `${number} ${number === 1 ? one : several}`;
}
