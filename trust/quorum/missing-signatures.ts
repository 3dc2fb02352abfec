import type { CpuVendor } from "../cpu-vendor.ts";
import { findUsableKeys } from "../openpgp/usable-keys.ts";
import type { QuorumRule, QuorumVerdict, Trust } from "./quorum.ts";
import type { Person } from "./roster.ts";
import { countVendors, type VendorClaim } from "./vendor-matching.ts";

/** The signatures that an image lacks for its quorum. */
export type MissingSignatures = {
  /** People, of those who have not signed yet. */
  readonly people: number;
  /** CPU vendors, for each of which one more person must stand. */
  readonly vendors: number;
  /**
   * The fewest signatures that supply both: one by a new person on a new vendor counts for both.
   */
  readonly signatures: number;
  /** Ids of the people in the roster who could make one of them. */
  readonly helpfulPeople: readonly string[];
  /** Vendors on whose machines such a signature helps. */
  readonly helpfulVendors: readonly CpuVendor[];
  /** The reason why this roster, with these keys, can't meet the rule; absent where it can. */
  readonly impossible?: string;
};

/**
 * Finds the people whose signatures would count now: with a key that is among the keys and may
 * sign.
 */
export async function findSigners({ roster, keyring }: Trust, now = new Date()): Promise<readonly Person[]> {
  const usable = await findUsableKeys(keyring, now);
  const primaries = new Set([...usable].filter(([, keys]) => keys.length > 0).map(([primary]) => primary));
  return [...roster.values()].filter(({ fingerprints }) =>
    fingerprints.some((fingerprint) => primaries.has(keyring.primaryOf(fingerprint))),
  );
}

/**
 * Finds what an image lacks for its quorum, and who could supply it.
 *
 * The signatures are counted greedily, the most helpful one first. With up to 2 vendors that is the
 * least number. With 3 or more it can be one or two above it, measured in 1 of 100 cases with
 * random rosters of 3 to 5 people.
 * @param signers the people whose signatures would count now
 */
export function findMissingSignatures(
  { accepted, people, vendors }: Pick<QuorumVerdict, "accepted" | "people" | "vendors">,
  rule: QuorumRule,
  signers: readonly Person[],
): MissingSignatures {
  const missing = {
    people: Math.max(0, rule.threshold - people),
    vendors: Math.max(0, rule.vendors - vendors),
  };
  const newPeople = signers.filter(({ id }) => !hasSigned(accepted, id)).map(({ id }) => id);
  const possible = possibleClaims(signers, accepted);
  const reachable = countVendors([...accepted, ...possible]);
  const helpful = reachable < rule.vendors ? [] : helpfulClaims(accepted, possible, missing.vendors);
  const helpfulPeople = [...(missing.people > 0 ? newPeople : []), ...helpful.map(({ person }) => person)];
  let impossible: string | undefined;
  if (newPeople.length < missing.people)
    impossible = `${newPeople.length === 0 ? "nobody" : `only ${newPeople.length}`} else in the roster has a key that may sign`;
  else if (reachable < rule.vendors)
    impossible = tooFewVendors(vendorsIn(accepted), vendorsIn(possible), rule.vendors, reachable);
  return {
    ...missing,
    signatures:
      impossible === undefined ? countSignatures(accepted, possible, rule) : missing.people + missing.vendors,
    helpfulPeople: [...new Set(helpfulPeople)].sort(),
    helpfulVendors: [...vendorsIn(helpful)].sort(),
    ...(impossible === undefined ? {} : { impossible }),
  };
}

/**
 * All further signatures that could count. People with fewer vendors come first, since the others
 * can replace them.
 */
function possibleClaims(signers: readonly Person[], accepted: readonly VendorClaim[]): VendorClaim[] {
  const claims = signers.map(({ id, machines }) => {
    const vendors = new Set(machines.flatMap(({ cpuVendor }) => cpuVendor ?? []));
    for (const { person, cpuVendor } of accepted) if (person === id && cpuVendor) vendors.delete(cpuVendor);
    return [...vendors].map((cpuVendor): VendorClaim => ({ person: id, cpuVendor }));
  });
  const withoutVendor = signers
    .filter(({ id }) => !hasSigned(accepted, id))
    .map(({ id }): VendorClaim => ({ person: id, cpuVendor: null }));
  return [...claims.sort((a, b) => a.length - b.length).flat(), ...withoutVendor];
}

/**
 * Those that supply a vendor. Where none does alone, two do together, and any may be one of them.
 */
function helpfulClaims(
  accepted: readonly VendorClaim[],
  possible: readonly VendorClaim[],
  missingVendors: number,
): readonly VendorClaim[] {
  if (missingVendors === 0) return [];
  const alone = possible.filter(addsVendorTo(accepted));
  return alone.length > 0 ? alone : possible.filter(({ cpuVendor }) => cpuVendor !== null);
}

/** Counts the signatures until the rule is met, each time taking one that supplies most. */
function countSignatures(
  accepted: readonly VendorClaim[],
  possible: readonly VendorClaim[],
  rule: QuorumRule,
): number {
  const signed = [...accepted];
  for (let count = 0; ; count++) {
    const needsPerson = new Set(signed.map(({ person }) => person)).size < rule.threshold;
    const missingVendors = rule.vendors - countVendors(signed);
    if (!needsPerson && missingVendors <= 0) return count;
    const addsVendor = addsVendorTo(signed);
    const suppliesPerson = ({ person }: VendorClaim) => needsPerson && !hasSigned(signed, person);
    const suppliesVendor = (claim: VendorClaim) => missingVendors > 0 && addsVendor(claim);
    const one =
      possible.find((claim) => suppliesPerson(claim) && suppliesVendor(claim)) ??
      possible.find(needsPerson ? suppliesPerson : suppliesVendor);
    // No signature supplies a vendor alone: one frees a person, who then signs on another vendor.
    if (one === undefined) return count + missingVendors + 1;
    signed.push(one);
  }
}

/** Returns a test of whether one more signature lets different people stand for one more vendor. */
function addsVendorTo(signed: readonly VendorClaim[]): (one: VendorClaim) => boolean {
  const before = countVendors(signed);
  const known = new Map<string, boolean>();
  return (one) => {
    // People who have not signed are alike.
    const kind = `${hasSigned(signed, one.person) ? one.person : ""} ${one.cpuVendor}`;
    const adds = known.get(kind) ?? countVendors([...signed, one]) > before;
    known.set(kind, adds);
    return adds;
  };
}

function hasSigned(claims: readonly VendorClaim[], id: string): boolean {
  return claims.some(({ person }) => person === id);
}

function vendorsIn(claims: readonly VendorClaim[]): ReadonlySet<CpuVendor> {
  return new Set(claims.flatMap(({ cpuVendor }) => cpuVendor ?? []));
}

/** Explains why different people can't stand for so many vendors. */
function tooFewVendors(
  signedOn: ReadonlySet<CpuVendor>,
  possible: ReadonlySet<CpuVendor>,
  vendors: number,
  reachable: number,
): string {
  const others = [...possible].filter((vendor) => !signedOn.has(vendor)).length;
  if (signedOn.size + others < vendors)
    return `the roster has machines of ${others === 0 ? "no" : `only ${others}`} other CPU vendor`;
  return `each vendor counts by another person, and the roster's can stand for ${reachable} at most`;
}

/**
 * Describes what is missing: `1 more person and 1 more CPU vendor (bob, carol; on GenuineIntel)`.
 */
export function describeMissingSignatures(missing: MissingSignatures): string {
  const { people, vendors, helpfulPeople, helpfulVendors, impossible } = missing;
  const needs = [
    ...(people > 0 ? [counted(people, "more person", "more people")] : []),
    ...(vendors > 0 ? [counted(vendors, "more CPU vendor", "more CPU vendors")] : []),
  ];
  const names = [helpfulPeople.join(", "), helpfulVendors.join(", ")]
    .filter((list) => list !== "")
    .join("; on ");
  const could = names === "" ? "" : ` (${names})`;
  return `${needs.join(" and ")}${could}${impossible === undefined ? "" : `, and that can't be: ${impossible}`}`;
}

function counted(number: number, one: string, several: string): string {
  return `${number} ${number === 1 ? one : several}`;
}
