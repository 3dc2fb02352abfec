import type { CpuVendor } from "./cpu-vendor.ts";

/** A person of whom signatures are there, or could be. */
export type Signer = {
  /** Whether a signature of theirs counts already. */
  readonly hasSigned: boolean;
  /** The vendors that their signatures stand for already. */
  readonly standsFor: readonly CpuVendor[];
  /** The vendors that one more signature could stand for. */
  readonly couldStandFor: readonly CpuVendor[];
};

/**
 * Counts the fewest new signatures with which so many new people have signed, and different people stand for so many vendors. Goes
 * through the people one by one, and keeps for each set of so many vendors the least that it costs: exact, and quick where few are asked for.
 * @returns infinity where no number of signatures will do
 */
export function fewestSignatures(people: readonly Signer[], newPeople: number, vendors: number): number {
  if (people.filter(({ hasSigned }) => !hasSigned).length < newPeople) return Number.POSITIVE_INFINITY;
  const bits = new Map<CpuVendor, number>();
  for (const { standsFor, couldStandFor } of people)
    for (const vendor of [...standsFor, ...couldStandFor])
      if (!bits.has(vendor)) bits.set(vendor, 1 << bits.size);
  // By the vendors stood for, and the new people among those who stand: signatures by people who had signed before.
  let least = new Map<number, number>([[0, 0]]);
  const key = (set: number, fresh: number) => fresh * 2 ** bits.size + set;
  for (const person of people) {
    const next = new Map(least);
    for (const [at, cost] of least) {
      const set = at % 2 ** bits.size;
      const fresh = Math.floor(at / 2 ** bits.size);
      for (const [vendor, bit] of bits) {
        if (set & bit || onesIn(set) === vendors) continue;
        const isFree = person.standsFor.includes(vendor);
        if (!isFree && !person.couldStandFor.includes(vendor)) continue;
        const to = key(set | bit, fresh + (isFree || person.hasSigned ? 0 : 1));
        const price = cost + (!isFree && person.hasSigned ? 1 : 0);
        if (price < (next.get(to) ?? Number.POSITIVE_INFINITY)) next.set(to, price);
      }
    }
    least = next;
  }
  let best = Number.POSITIVE_INFINITY;
  for (const [at, cost] of least) {
    const set = at % 2 ** bits.size;
    const fresh = Math.floor(at / 2 ** bits.size);
    if (onesIn(set) === vendors) best = Math.min(best, cost + Math.max(fresh, newPeople));
  }
  return best;
}

function onesIn(set: number): number {
  let count = 0;
  for (let rest = set; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
