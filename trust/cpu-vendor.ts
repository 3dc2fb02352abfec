/**
 * Who makes a CPU, in the one spelling that counts: as x86 kernels report it in `vendor_id`, and for Arm as the kernel names the
 * implementer (arch/arm64/include/asm/cputype.h).
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

/** Other spellings, in lower case and without what is not a letter or digit. Graviton's cores are Arm's own. */
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
 * The vendor that is meant, or nothing where the spelling is not known. What is not known is never a vendor of its own: with two
 * spellings of one maker, one machine would make a quorum of two.
 */
export function tryParseCpuVendor(text: string): CpuVendor | undefined {
  const letters = text
    .toLowerCase()
    .replace(/\((?:r|tm|c)\)/g, "")
    .replace(/[^a-z0-9]/g, "")
    .replace(/(?:inc|corp|ltd)$/, "");
  return known.get(letters);
}
