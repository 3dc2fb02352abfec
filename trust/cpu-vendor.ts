/**
 * The vendor of a CPU, in its one canonical spelling: as x86 kernels report it in `vendor_id`, and
 * for Arm as the kernel names the implementer (arch/arm64/include/asm/cputype.h).
 */
export type CpuVendor = (typeof cpuVendors)[number];

const cpuVendors = [
  "AuthenticAMD",
  "GenuineIntel",
  "HygonGenuine",
  "CentaurHauls",
  "Zhaoxin",
  "ARM",
  "Ampere",
  "Apple",
  "Broadcom",
  "Cavium",
  "Fujitsu",
  "HiSilicon",
  "Microsoft",
  "NVIDIA",
  "Qualcomm",
  "IBM",
  "SiFive",
] as const;

/** Other spellings, in lower case, letters and digits only. Graviton's cores are Arm's own. */
const otherSpellings: Readonly<Record<string, CpuVendor>> = {
  amd: "AuthenticAMD",
  advancedmicrodevices: "AuthenticAMD",
  intel: "GenuineIntel",
  intelcorporation: "GenuineIntel",
  hygon: "HygonGenuine",
  centaur: "CentaurHauls",
  via: "CentaurHauls",
  shanghai: "Zhaoxin",
  aws: "ARM",
  amazon: "ARM",
  graviton: "ARM",
  amperecomputing: "Ampere",
  marvell: "Cavium",
};

const known: ReadonlyMap<string, CpuVendor> = new Map([
  ...cpuVendors.map((vendor) => [vendor.toLowerCase(), vendor] as const),
  ...Object.entries(otherSpellings),
]);

/**
 * Parses a vendor's name; returns undefined for an unknown spelling. An unknown spelling is never a
 * vendor of its own: otherwise one machine, under two spellings of its vendor, could make a quorum
 * of two.
 */
export function tryParseCpuVendor(text: string): CpuVendor | undefined {
  const letters = text
    .toLowerCase()
    .replace(/\((?:r|tm|c)\)/g, "")
    .replace(/[^a-z0-9]/g, "")
    .replace(/(?:inc|corp|ltd)$/, "");
  return known.get(letters);
}
