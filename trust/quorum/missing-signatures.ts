import type { CpuVendor } from "../cpu-vendor.ts";
import { findUsableKeys } from "../openpgp/usable-keys.ts";
import { fewestSignatures, fewOfEachKind, type PotentialSigner } from "./fewest-signatures.ts";
import type { QuorumRule, QuorumVerdict, Trust } from "./quorum.ts";
import type { Person } from "./roster.ts";
import { countVendors } from "./vendor-matching.ts";

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
 * Limit of the kinds of people for whom it is searched whether they help. In a roster with more
 * kinds, all people of the others who might help are named.
 */
const maxSearchedKinds = 100;

/**
 * Finds what an image lacks for its quorum, and who could supply it.
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
  const everyone = potentialSigners(accepted, signers);
  const newPeople = signers.filter(({ id }) => !everyone.get(id)?.hasSigned);
  const signatures = fewestSignatures([...everyone.values()], missing.people, rule.vendors);
  const helpful = findHelpfulVendors(everyone, signers, missing.vendors > 0 ? rule.vendors : 0);
  const helpfulPeople = signers.filter(
    ({ id }) => (missing.people > 0 && !everyone.get(id)?.hasSigned) || helpful.has(id),
  );
  let impossible: string | undefined;
  if (newPeople.length < missing.people)
    impossible = `${newPeople.length === 0 ? "nobody" : `only ${newPeople.length}`} else in the roster has a key that may sign`;
  else if (!Number.isFinite(signatures)) impossible = tooFewVendors(everyone, rule.vendors);
  return {
    ...missing,
    signatures: Number.isFinite(signatures) ? signatures : missing.people + missing.vendors,
    helpfulPeople: helpfulPeople.map(({ id }) => id).sort(),
    helpfulVendors: [...new Set([...helpful.values()].flat())].sort(),
    ...(impossible === undefined ? {} : { impossible }),
  };
}

/** Returns everyone who has signed or could sign, by id. */
function potentialSigners(
  accepted: QuorumVerdict["accepted"],
  signers: readonly Person[],
): ReadonlyMap<string, PotentialSigner> {
  const signed = Map.groupBy(accepted, ({ person }) => person);
  const machines = new Map(signers.map((person) => [person.id, person.machines]));
  return new Map(
    [...new Set([...signed.keys(), ...machines.keys()])].map((id) => {
      const standsFor = vendorsOf(signed.get(id) ?? []);
      const couldStandFor = vendorsOf(machines.get(id) ?? []).filter((vendor) => !standsFor.includes(vendor));
      return [id, { hasSigned: signed.has(id), standsFor, couldStandFor }];
    }),
  );
}

function vendorsOf(all: readonly { readonly cpuVendor?: CpuVendor | null | undefined }[]): CpuVendor[] {
  return [...new Set(all.flatMap(({ cpuVendor }) => cpuVendor ?? []))].sort();
}

/** Finds the vendors for which one signature of each signer brings the rule nearer, by id. */
function findHelpfulVendors(
  everyone: ReadonlyMap<string, PotentialSigner>,
  signers: readonly Person[],
  vendors: number,
): Map<string, readonly CpuVendor[]> {
  // Of people who are alike, at most one stands for each vendor, and one more may be left out below.
  const few = fewOfEachKind([...everyone.values()], vendors + 1);
  const fewest = fewestSignatures(few, 0, vendors);
  const found = new Map<string, readonly CpuVendor[]>();
  if (fewest === 0 || !Number.isFinite(fewest)) return found;
  const known = new Map<string, readonly CpuVendor[]>();
  for (const { id } of signers) {
    const signer = everyone.get(id);
    if (!signer || signer.couldStandFor.length === 0) continue;
    const kind = JSON.stringify(signer);
    if (!known.has(kind)) {
      const alike = few.find((one) => JSON.stringify(one) === kind);
      const rest = few.filter((one) => one !== alike);
      const helps = (vendor: CpuVendor) =>
        fewestSignatures([...rest, withSignature(signer, vendor)], 0, vendors) < fewest;
      const isSearched = known.size < maxSearchedKinds;
      known.set(kind, isSearched ? signer.couldStandFor.filter(helps) : signer.couldStandFor);
    }
    const helping = known.get(kind) ?? [];
    if (helping.length > 0) found.set(id, helping);
  }
  return found;
}

function withSignature(signer: PotentialSigner, cpuVendor: CpuVendor): PotentialSigner {
  return {
    hasSigned: true,
    standsFor: [...signer.standsFor, cpuVendor],
    couldStandFor: signer.couldStandFor.filter((one) => one !== cpuVendor),
  };
}

/** Explains why different people can't stand for so many vendors. */
function tooFewVendors(everyone: ReadonlyMap<string, PotentialSigner>, vendors: number): string {
  const claims = [...everyone].flatMap(([person, { standsFor, couldStandFor }]) =>
    [...standsFor, ...couldStandFor].map((cpuVendor) => ({ person, cpuVendor })),
  );
  const signedOn = new Set([...everyone.values()].flatMap(({ standsFor }) => standsFor));
  const others = new Set(claims.map(({ cpuVendor }) => cpuVendor).filter((vendor) => !signedOn.has(vendor)));
  if (signedOn.size + others.size < vendors)
    return `the roster has machines of ${others.size === 0 ? "no" : `only ${others.size}`} other CPU vendor`;
  return `each vendor counts by another person, and the roster's can stand for ${countVendors(claims)} at most`;
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
