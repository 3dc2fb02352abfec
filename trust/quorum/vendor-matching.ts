import type { CpuVendor } from "../cpu-vendor.ts";

/**
 * A person's signature, and the CPU vendor that it counts for; null where it counts for the person
 * only.
 */
export type VendorClaim = { readonly person: string; readonly cpuVendor: CpuVendor | null };

/**
 * Counts the vendors for which different people can stand, each person for one and each vendor by
 * one. This is the size of a maximum matching between people and vendors, found by augmenting
 * paths: one person who signed on two vendors' machines stands for either.
 */
export function countVendors(claims: readonly VendorClaim[]): number {
  const vendorsOf = Map.groupBy(claims, ({ person }) => person);
  const holders = new Map<CpuVendor, string>();
  const assign = (person: string, tried: Set<CpuVendor>): boolean =>
    (vendorsOf.get(person) ?? []).some(({ cpuVendor }) => {
      if (cpuVendor === null || tried.has(cpuVendor)) return false;
      tried.add(cpuVendor);
      const holder = holders.get(cpuVendor);
      if (holder !== undefined && !assign(holder, tried)) return false;
      holders.set(cpuVendor, person);
      return true;
    });
  return [...vendorsOf.keys()].filter((person) => assign(person, new Set())).length;
}
