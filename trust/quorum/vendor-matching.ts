import type { CpuVendor } from "../cpu-vendor.ts";

/** Whoever may stand for a CPU vendor, and for which: each person for one, and each vendor by one. */
export type VendorChoices = readonly (readonly CpuVendor[])[];

/**
 * Counts the vendors for which different people can stand: the size of a greatest matching between people and vendors, found by
 * augmenting paths. Somebody with machines of two vendors stands for either of them, and never for both.
 */
export function countMatchedVendors(choices: VendorChoices): number {
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
