import type { CpuVendor } from "../cpu-vendor.ts";
import type { Fingerprint } from "../openpgp/fingerprint.ts";
import { type Keyring, requireSigningKey } from "../openpgp/keyring.ts";
import { fewestSignatures, fewOfEachKind, type PotentialSigner } from "./fewest-signatures.ts";
import type { QuorumRule, QuorumVerdict, Trust } from "./quorum.ts";
import type { Person } from "./roster.ts";
import { countMatchedVendors } from "./vendor-matching.ts";

/** What an image needs to be at quorum. */
export type MissingSignatures = {
  /** People, of those who have not signed yet. */
  readonly people: number;
  /** CPU vendors for which one more person must stand. */
  readonly vendors: number;
  /** The fewest signatures that make up for both: one of another person, on another vendor, counts for both. */
  readonly signatures: number;
  /** Who of the roster could make one of them, by id. */
  readonly helpfulPeople: readonly string[];
  /** The vendors on whose machines a signature of theirs would help. */
  readonly helpfulVendors: readonly CpuVendor[];
  /** Why no number of signatures would do, with this roster and these keys. */
  readonly impossible?: string;
};

/** The people whose signatures would count now: with a key that is at hand and may sign. */
export async function findSigners({ roster, keyring }: Trust, now = new Date()): Promise<readonly Person[]> {
  const usable = await findUsableKeys(keyring, now);
  const primaries = new Set([...usable].filter(([, keys]) => keys.length > 0).map(([primary]) => primary));
  return [...roster.values()].filter(({ fingerprints }) =>
    fingerprints.some((fingerprint) => primaries.has(keyring.primaryOf(fingerprint))),
  );
}

/** The keys of each certificate that may sign now, by the primary key: neither expired nor revoked nor weak. */
export async function findUsableKeys(
  keyring: Keyring,
  now = new Date(),
): Promise<ReadonlyMap<Fingerprint, readonly Fingerprint[]>> {
  const usable = new Map<Fingerprint, readonly Fingerprint[]>();
  for (const primary of keyring.certificates.keys()) {
    const candidates = keyring.keysOf(primary);
    const good = await Promise.all(
      candidates.map((candidate) =>
        requireSigningKey(candidate, now).then(
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

/** With more kinds of people than these in a roster, all who might help are named, helpful or not: to find out takes a search for each. */
const mostKinds = 100;

/** What is missing to an outcome; of one that is met, nothing. */
export function findMissingSignatures(
  { accepted, people, vendors }: Pick<QuorumVerdict, "accepted" | "people" | "vendors">,
  rule: QuorumRule,
  signers: readonly Person[],
): MissingSignatures {
  const missing = {
    people: Math.max(0, rule.threshold - people),
    vendors: Math.max(0, rule.vendors - vendors),
  };
  const everyone = signersIn(accepted, signers);
  const fresh = signers.filter(({ id }) => !everyone.get(id)?.hasSigned);
  const signatures = fewestSignatures([...everyone.values()], missing.people, rule.vendors);
  const helpful = findHelpfulVendors(everyone, signers, missing.vendors > 0 ? rule.vendors : 0);
  const by = signers.filter(
    ({ id }) => (missing.people > 0 && !everyone.get(id)?.hasSigned) || helpful.has(id),
  );
  const impossible =
    fresh.length < missing.people
      ? `${fresh.length === 0 ? "nobody" : `only ${fresh.length}`} else in the roster has a key that may sign`
      : Number.isFinite(signatures)
        ? undefined
        : tooFewVendors([...everyone.values()], rule.vendors);
  return {
    ...missing,
    signatures: Number.isFinite(signatures) ? signatures : missing.people + missing.vendors,
    helpfulPeople: by.map(({ id }) => id).sort(),
    helpfulVendors: [...new Set([...helpful.values()].flat())].sort(),
    ...(impossible === undefined ? {} : { impossible }),
  };
}

/** Everybody who has signed or could, by id. */
function signersIn(
  accepted: QuorumVerdict["accepted"],
  signers: readonly Person[],
): ReadonlyMap<string, PotentialSigner> {
  const signed = Map.groupBy(accepted, ({ person }) => person);
  const machines = new Map(signers.map((person) => [person.id, person.machines]));
  return new Map(
    [...new Set([...signed.keys(), ...machines.keys()])].map((id) => {
      const standsFor = distinct(signed.get(id) ?? []);
      const couldStandFor = distinct(machines.get(id) ?? []).filter((vendor) => !standsFor.includes(vendor));
      return [id, { hasSigned: signed.has(id), standsFor, couldStandFor }];
    }),
  );
}

function distinct(all: readonly { readonly cpuVendor?: CpuVendor | null | undefined }[]): CpuVendor[] {
  return [...new Set(all.flatMap(({ cpuVendor }) => cpuVendor ?? []))].sort();
}

/** For which vendors a signature of each signer would bring the rule nearer, by id; without those for whom there is none. */
function findHelpfulVendors(
  everyone: ReadonlyMap<string, PotentialSigner>,
  signers: readonly Person[],
  vendors: number,
): Map<string, readonly CpuVendor[]> {
  const all = [...everyone.values()];
  // Of people who are alike, one at most stands for each vendor, and one more may be taken out below.
  const few = fewOfEachKind(all, vendors + 1);
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
      const isSearched = known.size < mostKinds;
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

/** Why different people can't stand for so many vendors. */
function tooFewVendors(people: readonly PotentialSigner[], vendors: number): string {
  const choices = people.map(({ standsFor, couldStandFor }) => [...standsFor, ...couldStandFor]);
  const builtOn = new Set(people.flatMap(({ standsFor }) => standsFor));
  const others = new Set(choices.flat().filter((vendor) => !builtOn.has(vendor)));
  if (builtOn.size + others.size < vendors)
    return `the roster has machines of ${others.size === 0 ? "no" : `only ${others.size}`} other CPU vendor`;
  const most = countMatchedVendors(choices);
  return `each vendor counts by another person, and the roster's can stand for ${most} at most`;
}

/** In words: `1 more person on another CPU vendor (bob, carol; GenuineIntel)`. */
export function describeMissingSignatures(shortfall: MissingSignatures): string {
  const { people, vendors, helpfulPeople: by, helpfulVendors: on, impossible } = shortfall;
  const needs = [
    ...(people > 0 ? [counted(people, "more person", "more people")] : []),
    ...(vendors > 0 ? [counted(vendors, "more CPU vendor", "more CPU vendors")] : []),
  ];
  const who = [by.join(", "), on.join(", ")].filter((names) => names !== "").join("; on ");
  const could = who === "" ? "" : ` (${who})`;
  return `${needs.join(" and ")}${could}${impossible === undefined ? "" : `, and that can't be: ${impossible}`}`;
}

function counted(number: number, one: string, several: string): string {
  return `${number} ${number === 1 ? one : several}`;
}
